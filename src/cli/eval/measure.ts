/** @file Measures one checkpoint: its losses first, then its tasks. One model is in memory at a time. */
import type { Sequence } from '../../data/shards.ts';
import type { Tokenizer } from '../../data/tokenizer.ts';
import { openEvaluator } from '../../evaluation/evaluator.ts';
import { batchModel } from '../../evaluation/tasks/batch-model.ts';
import { decoderModel } from '../../evaluation/tasks/decoder-model.ts';
import type { TaskFormat, TaskItem } from '../../evaluation/tasks/formats.ts';
import { scoreTask, type TaskScores } from '../../evaluation/tasks/score.ts';
import { type TextLoss, textLosses } from '../../evaluation/text-loss.ts';
import type { QuasarLongConfig } from '../../model/quasar-long/config.ts';
import { openDecoder } from '../../model/quasar-long/generate.ts';
import type { Params } from '../../model/quasar-long/init.ts';
import type { Io } from '../io.ts';
import type { EvalOptions } from './options.ts';

/** Sequences of one run of the engine. */
const batch = 8;
const sayEvery = 100;

export interface EvalTask {
  readonly name: string;
  readonly format: TaskFormat;
  readonly pool: readonly TaskItem[];
  items(limit?: number): AsyncIterable<TaskItem> | Iterable<TaskItem>;
}

export interface Measured {
  readonly texts: ReadonlyMap<string, TextLoss>;
  readonly tasks: ReadonlyMap<string, TaskScores>;
}

export interface LoadedModel {
  readonly config: QuasarLongConfig;
  readonly params: Params;
  readonly tokenizer: Tokenizer;
}

export async function measure(
  model: LoadedModel,
  plan: { readonly sequences: ReadonlyMap<string, readonly Sequence[]>; readonly tasks: readonly EvalTask[] },
  options: EvalOptions & { readonly seqLen: number },
  io: Pick<Io, 'err' | 'stop'>,
): Promise<Measured> {
  return {
    texts: plan.sequences.size === 0 ? new Map() : await measureTexts(model, plan.sequences, options, io),
    tasks: plan.tasks.length === 0 ? new Map() : await measureTasks(model, plan.tasks, options, io),
  };
}

async function measureTexts(
  { config, params, tokenizer }: LoadedModel,
  sequences: ReadonlyMap<string, readonly Sequence[]>,
  { seqLen, threads, device }: EvalOptions,
  { err, stop }: Pick<Io, 'err' | 'stop'>,
): Promise<ReadonlyMap<string, TextLoss>> {
  const evaluator = await openEvaluator(config, { batch, seqLen, threads, device });
  const stoppable: typeof evaluator = {
    ...evaluator,
    sequenceLosses: async (values, rows) => {
      stop.throwIfAborted();
      return await evaluator.sequenceLosses(values, rows);
    },
  };
  try {
    const count = [...sequences.values()].reduce((sum, rows) => sum + rows.length, 0);
    err(`reading ${count} sequences of ${seqLen} tokens from ${sequences.size} sources`);
    return await textLosses(stoppable, params, sequences, (id) => tokenizer.byteLength(id));
  } finally {
    await evaluator.close();
  }
}

async function measureTasks(
  { config, params, tokenizer }: LoadedModel,
  tasks: readonly EvalTask[],
  { threads, device, fewshot, seed, limit }: EvalOptions,
  { err, stop }: Pick<Io, 'err' | 'stop'>,
): Promise<ReadonlyMap<string, TaskScores>> {
  const decoder = await openDecoder(config, params, { threads, device });
  const maxTokens = config.max_position_embeddings;
  const decoding = decoderModel(decoder, tokenizer, { maxTokens, signal: stop });
  const model = batchModel(config, params, decoding, { threads, device, maxTokens });
  try {
    const results = new Map<string, TaskScores>();
    for (const { name, format, pool, items } of tasks) {
      const shots = { count: fewshot, pool, seed };
      const asked = items(limit ?? undefined);
      const scores = await scoreTask(format, asked, shots, model, (done) => {
        stop.throwIfAborted();
        if (done % sayEvery === 0) err(`${name}: ${done} questions`);
      });
      if (scores !== null) results.set(name, scores);
    }
    return results;
  } finally {
    await model.close();
    await decoder.release();
  }
}
