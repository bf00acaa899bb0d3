/** @file Per-sequence losses of a model by a forward-only session. Parameters are fed as views, never copied. */
import { type Sequence, stackSequences } from '../data/shards.ts';
import type { Device } from '../engine/device.ts';
import { openSession, type Session } from '../engine/session.ts';
import type { QuasarLongConfig } from '../model/quasar-long/config.ts';
import { buildContract } from '../model/quasar-long/contract.ts';
import { buildLossGraph } from '../model/quasar-long/graphs.ts';
import type { Params } from '../model/quasar-long/init.ts';
import { type TensorView, viewOf } from '../tensor/view.ts';
import { assert } from '../util/errors.ts';

export interface EvaluatorOptions {
  /** Sequences of one run of the session; does not change the results. */
  readonly batch: number;
  readonly seqLen: number;
  readonly threads: number;
  /** Default cpu. */
  readonly device?: Device;
}

export interface SequenceLosses {
  /** Nats a token, one for each sequence. */
  readonly losses: Float64Array;
  /** Labels that counted in each. */
  readonly tokens: Float64Array;
}

export interface Evaluation extends SequenceLosses {
  /**
   * Assignments to each expert over all runs, by selection bias. A last batch that is filled up counts its first sequence
   * as often as it was read.
   */
  readonly loads: ReadonlyMap<string, Float64Array>;
}

export interface Evaluator {
  readonly options: EvaluatorOptions;
  /** `params`: every tensor of the contract. */
  sequenceLosses(params: Params, sequences: readonly Sequence[]): Promise<Evaluation>;
  close(): Promise<void>;
}

export async function openEvaluator(config: QuasarLongConfig, options: EvaluatorOptions): Promise<Evaluator> {
  const { batch, seqLen, threads, device = 'cpu' } = options;
  const { graph, loadNames } = buildLossGraph(config, { batch, seqLen, packed: true, gradients: false });
  const session = await openSession(graph, { threads, device });
  const shapes = buildContract(config).map(({ name, shape }) => [name, shape] as const);
  return {
    options,
    async sequenceLosses(params, sequences) {
      const feeds = Object.fromEntries(shapes.map(([name, shape]) => [name, viewOf(params.get(name)!, shape)]));
      const losses = new Float64Array(sequences.length);
      const tokens = new Float64Array(sequences.length);
      const loads = new Map<string, Float64Array>();
      for (let from = 0; from < sequences.length; from += batch) {
        const rows = sequences.slice(from, from + batch);
        const result = await runBatch(session, feeds, rows, batch, loadNames);
        losses.set(result.losses, from);
        tokens.set(result.tokens, from);
        for (const [name, load] of result.loads) loads.set(name, addedTo(loads.get(name), load));
      }
      return { losses, tokens, loads };
    },
    close: () => session.release(),
  };
}

/** Rows of a batch do not influence each other (no token is dropped), so a short batch is filled up and cut again. */
async function runBatch(
  session: Session,
  params: Readonly<Record<string, TensorView>>,
  rows: readonly Sequence[],
  batch: number,
  loadNames: readonly string[],
): Promise<{ losses: Float32Array; tokens: Float32Array; loads: [string, Float32Array][] }> {
  const padded = [...rows, ...Array.from({ length: batch - rows.length }, () => rows[0]!)];
  const { inputIds, positionIds, labels } = stackSequences(padded);
  const shape = [batch, inputIds.length / batch];
  const outputs = await session.run(
    {
      ...params,
      input_ids: viewOf(inputIds, shape),
      position_ids: viewOf(positionIds, shape),
      labels: viewOf(labels, shape),
    },
    ['sequence_loss', 'sequence_tokens', ...loadNames.map((name) => `load:${name}`)],
  );
  const all = (name: string): Float32Array => outputs[name]!.data as Float32Array;
  const take = (name: string): Float32Array => all(name).subarray(0, rows.length);
  const loads = loadNames.map((name): [string, Float32Array] => [name, all(`load:${name}`)]);
  return { losses: take('sequence_loss'), tokens: take('sequence_tokens'), loads };
}

function addedTo(sum: Float64Array | undefined, load: Float32Array): Float64Array {
  return Float64Array.from(load, (count, e) => count + (sum?.[e] ?? 0));
}

/** Mean over tokens of all sequences, in nats. */
export function meanLoss({ losses, tokens }: SequenceLosses): number {
  let sum = 0;
  let count = 0;
  losses.forEach((loss, i) => {
    sum += loss * tokens[i]!;
    count += tokens[i]!;
  });
  assert(count > 0, 'meanLoss: no label counts');
  return sum / count;
}
