/**
 * @file The graphs that others run: loss with gradients for training, loss for each sequence for evaluation, logits.
 * Feeds are the tensors of a checkpoint by name, and `input_ids`, `position_ids`, `labels` ((batch, seqLen), i64).
 */
import { gradients } from '../../engine/grad.ts';
import { type Graph, GraphBuilder, type Tensor } from '../../engine/graph.ts';
import type { QuasarLongConfig } from './config.ts';
import { buildContract } from './contract.ts';
import { type Forward, type ForwardOptions, forward, logits } from './forward.ts';

/** Labels with this value do not count. */
export const ignoredLabel = -100;

export interface LossGraphOptions {
  readonly batch: number;
  readonly seqLen: number;
  /** Rows hold several documents, whose boundaries `position_ids` carry; else each row is one, and the feed is ignored. */
  readonly packed: boolean;
  /** Adds an output `grad:NAME` for every tensor of kind `param`. */
  readonly gradients: boolean;
  /** Adds the output `logits` (batch, seqLen, vocab). */
  readonly logits?: boolean;
  readonly chunk?: number;
}

/**
 * Outputs of the graph beside the gradients:
 * - `loss` (1): mean of −log softmax(logits_t)[label_{t+1}] over labels that count;
 * - `sequence_loss` (batch): the same mean for each row; 0 where no label counts;
 * - `sequence_tokens` (batch) f32: how many labels count;
 * - `load:NAME` (experts) f32 for each selection bias NAME: assignments of this batch to each expert.
 */
export interface LossGraph {
  readonly graph: Graph;
  /** Names of the params that have a `grad:` output, in the contract's order; empty without gradients. */
  readonly gradientNames: readonly string[];
  /** Names of the selection biases that have a `load:` output. */
  readonly loadNames: readonly string[];
}

/** Rows that hold no label that counts give a loss of 0, not NaN. */
export function buildLossGraph(config: QuasarLongConfig, options: LossGraphOptions): LossGraph {
  const { batch, seqLen } = options;
  const g = new GraphBuilder();
  const run = forward(g, config, forwardOptions(options));
  const table = logits(run.scope, run.hidden);
  const loss = addLosses(g, table, g.input('labels', [batch, seqLen], 'i64'));
  if (options.logits) g.output('logits', g.reshape(table, [batch, seqLen, config.vocab_size]));
  for (const [name, load] of run.loads) g.output(`load:${name}`, load);
  const gradientNames = options.gradients ? addGradients(g, config, run, loss) : [];
  return { graph: g.build(), gradientNames, loadNames: [...run.loads.keys()] };
}

/** Output `logits` (batch, seqLen, vocab) alone. */
export function buildLogitsGraph(
  config: QuasarLongConfig,
  options: Omit<LossGraphOptions, 'gradients' | 'logits'>,
): Graph {
  const g = new GraphBuilder();
  const run = forward(g, config, forwardOptions(options));
  g.output('logits', g.reshape(logits(run.scope, run.hidden), [options.batch, options.seqLen, config.vocab_size]));
  return g.build();
}

const forwardOptions = ({ batch, seqLen, packed, chunk }: Omit<LossGraphOptions, 'gradients'>): ForwardOptions => ({
  batch,
  time: seqLen,
  packed,
  ...(chunk === undefined ? {} : { chunk }),
});

/** `table`: logits (batch·time, vocab). */
function addLosses(g: GraphBuilder, table: Tensor, labels: Tensor): Tensor {
  const [batch, time] = labels.shape as [number, number];
  const ends = g.constant(ignoredLabel, [batch, 1], 'i64');
  const targets = time === 1 ? ends : g.concat([g.slice(labels, 1, 1), ends], 1);
  const rows = g.crossEntropy(table, g.reshape(targets, [batch * time]), ignoredLabel);
  const counts = g.reduceSum(g.cast(g.not(g.equal(targets, ignoredLabel)), 'f32'), 1); // (batch)
  const sums = g.reduceSum(g.reshape(rows, [batch, time]), 1);
  const loss = g.div(g.reduceSum(sums, 0, true), g.maximum(g.reduceSum(counts, 0, true), 1));
  g.output('loss', loss);
  g.output('sequence_loss', g.div(sums, g.maximum(counts, 1)));
  g.output('sequence_tokens', counts);
  return loss;
}

function addGradients(g: GraphBuilder, config: QuasarLongConfig, run: Forward, loss: Tensor): string[] {
  const names = buildContract(config).flatMap(({ name, kind }) => (kind === 'param' ? [name] : []));
  const values = gradients(
    g,
    loss,
    names.map((name) => run.scope.param(name)),
  );
  names.forEach((name, i) => void g.output(`grad:${name}`, values[i]!));
  return names;
}
