/**
 * @file Log-likelihoods of all choices of a question in one pass: rows of the loss graph whose labels are the continuation
 * alone. About five times as fast as cached decoding for short questions; long ones, and those whose choices are single
 * tokens after one context, are left to decoding.
 */
import type { Sequence } from '../../data/shards.ts';
import type { QuasarLongConfig } from '../../model/quasar-long/config.ts';
import type { Params } from '../../model/quasar-long/init.ts';
import { type Evaluator, type EvaluatorOptions, openEvaluator } from '../evaluator.ts';
import type { TaskModel } from './score.ts';

/** Few lengths, as each has a graph of its own. */
const lengths = [64, 128, 256, 512];
const batch = 4;
/** Logits of a pass, in numbers. */
const maxLogits = 2 ** 25;
const ignored = -100n;

export interface BatchModel extends TaskModel {
  close(): Promise<void>;
}

/** `decoding`: for what is not read in rows. */
export function batchModel(
  config: QuasarLongConfig,
  params: Params,
  decoding: TaskModel,
  options: Pick<EvaluatorOptions, 'threads' | 'device'> & { readonly maxTokens: number },
): BatchModel {
  const { maxTokens, ...engine } = options;
  const evaluators = new Map<number, Evaluator>();
  const longest = Math.max(0, ...lengths.filter((length) => batch * length * config.vocab_size <= maxLogits));
  const evaluatorFor = async (tokens: number): Promise<Evaluator> => {
    const seqLen = lengths.find((length) => length >= tokens)!;
    const known = evaluators.get(seqLen);
    if (known !== undefined) return known;
    const opened = await openEvaluator(config, { batch, seqLen, ...engine });
    evaluators.set(seqLen, opened);
    return opened;
  };
  return {
    tokenizer: decoding.tokenizer,
    async score(context, continuations) {
      const tokens = context.length + Math.max(...continuations.map(({ length }) => length));
      const isSingle = continuations.every(({ length }) => length === 1);
      if (isSingle || tokens > Math.min(longest, maxTokens)) return await decoding.score(context, continuations);
      const evaluator = await evaluatorFor(tokens);
      const rows = continuations.map((ids) => rowOf(context, ids, evaluator.options.seqLen));
      const { losses, tokens: counts } = await evaluator.sequenceLosses(params, rows);
      return continuations.map((_, i) => ({ logLikelihood: -losses[i]! * counts[i]!, dropped: 0 }));
    },
    async close() {
      for (const evaluator of evaluators.values()) await evaluator.close();
      evaluators.clear();
    },
  };
}

/** Filled up at its end, which nothing before it sees. */
function rowOf(context: readonly number[], continuation: readonly number[], length: number): Sequence {
  const whole = [...context, ...continuation];
  const at = (i: number): bigint => BigInt(whole[i] ?? whole[0]!);
  return {
    inputIds: BigInt64Array.from({ length }, (_, i) => at(i)),
    positionIds: BigInt64Array.from({ length }, (_, i) => BigInt(i)),
    labels: BigInt64Array.from({ length }, (_, i) => (i >= context.length && i < whole.length ? at(i) : ignored)),
  };
}
