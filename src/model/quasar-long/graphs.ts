/**
 * @file The graphs that others run: loss with gradients for training, loss for each sequence for evaluation, logits.
 * Feeds are the tensors of a checkpoint by name, and `input_ids`, `position_ids`, `labels` ((batch, seqLen), i64).
 */
import { gradients } from '../../engine/grad.ts';
import { type Graph, GraphBuilder, type Tensor } from '../../engine/graph.ts';
import type { QuasarLongConfig } from './config.ts';
import { buildContract } from './contract.ts';
import { logits } from './embedding.ts';
import { type Forward, type ForwardOptions, forward } from './forward.ts';
import { mtpLayers, shiftLeft } from './mtp.ts';

/** Labels with this value do not count. */
export const ignoredLabel = -100;

export interface LossGraphOptions {
  readonly batch: number;
  readonly seqLen: number;
  /** Rows hold several documents, whose boundaries `position_ids` carry; else each row is one, and the feed is ignored. */
  readonly packed: boolean;
  /** Adds an output `grad:NAME` for every tensor of kind `param`. */
  readonly gradients: boolean;
  /** Tensors of kind `param` that get no gradient all the same: nothing is computed for them. */
  readonly frozen?: ReadonlySet<string>;
  /** Adds the outputs `logits` and `mtp_logits.J` (batch, seqLen, vocab). */
  readonly logits?: boolean;
  /** Coefficient of the z-loss, the mean of logsumexp(logits)² over the positions that count; 0 by default. */
  readonly zLoss?: number;
  readonly chunk?: number;
  /** Keeps only the input of each layer for the backward pass: less memory, about a third more work. */
  readonly recomputeLayers?: boolean;
}

/**
 * Outputs of the graph beside the gradients:
 * - `loss` (1): what the gradients descend: the mean of −log softmax(logits_t)[label_{t+1}] over labels that count, plus
 *   mtp_loss_scaling_factor · Σ `mtp_loss.J`, plus the z-loss;
 * - `mtp_loss.J` (1) of each MTP layer: the same mean, with labels J + 1 places further ahead;
 * - `z_loss` (1), before its coefficient, where there is one;
 * - `sequence_loss` (batch): the plain mean for each row; 0 where no label counts;
 * - `sequence_tokens` (batch) f32: how many labels count;
 * - `load:NAME` (experts) f32 for each selection bias NAME: assignments of this batch to each expert, in all loops;
 * - `entropy:NAME` (1): entropy in nats of the router's mean distribution (scores normalised for each token); ln(experts)
 *   where experts are used alike, near 0 where one takes all.
 */
export interface LossGraph {
  readonly graph: Graph;
  /** Names of the params that have a `grad:` output, in the contract's order; empty without gradients. */
  readonly gradientNames: readonly string[];
  /** Names of the selection biases that have a `load:` and an `entropy:` output. */
  readonly loadNames: readonly string[];
}

/** Rows that hold no label that counts give a loss of 0, not NaN. */
export function buildLossGraph(config: QuasarLongConfig, options: LossGraphOptions): LossGraph {
  const { batch, seqLen } = options;
  const g = new GraphBuilder();
  const run = forward(g, config, forwardOptions(options));
  const labels = g.input('labels', [batch, seqLen], 'i64');
  const table = logits(run.scope, run.hidden);
  let loss = addLosses(g, table, labels, options.zLoss ?? 0);
  if (options.logits) g.output('logits', g.reshape(table, [batch, seqLen, config.vocab_size]));
  mtpLayers(run.scope, run.hidden).forEach((hidden, j) => {
    const ahead = logits(run.scope, hidden);
    const extra = meanLoss(g, ahead, shiftLeft(run.scope, labels, j + 1, ignoredLabel)).mean;
    g.output(`mtp_loss.${j}`, extra);
    if (options.logits) g.output(`mtp_logits.${j}`, g.reshape(ahead, [batch, seqLen, config.vocab_size]));
    loss = g.add(loss, g.mul(extra, config.mtp_loss_scaling_factor));
  });
  g.output('loss', loss);
  for (const [name, { load, shares }] of run.routing) {
    g.output(`load:${name}`, load);
    g.output(`entropy:${name}`, entropyOf(g, shares));
  }
  const gradientNames = options.gradients ? addGradients(g, trainedNames(config, options.frozen), run, loss) : [];
  return { graph: g.build(), gradientNames, loadNames: [...run.routing.keys()] };
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

const forwardOptions = ({
  batch,
  seqLen,
  packed,
  chunk,
  recomputeLayers = false,
}: Omit<LossGraphOptions, 'gradients'>): ForwardOptions => ({
  batch,
  time: seqLen,
  packed,
  recomputeLayers,
  ...(chunk === undefined ? {} : { chunk }),
});

interface MeanLoss {
  /** (1). */
  readonly mean: Tensor;
  /** (batch). */
  readonly sums: Tensor;
  readonly counts: Tensor;
  /** (batch·time) i64: the label of each position. */
  readonly targets: Tensor;
  /** (batch·time). */
  readonly rows: Tensor;
}

/** The label of a position is the next one of its row. `table`: logits (batch·time, vocab). */
function meanLoss(g: GraphBuilder, table: Tensor, labels: Tensor): MeanLoss {
  const [batch, time] = labels.shape as [number, number];
  const targets = g.reshape(shiftLeft({ g }, labels, 1, ignoredLabel), [batch * time]);
  const rows = g.crossEntropy(table, targets, ignoredLabel);
  const counted = g.cast(g.not(g.equal(targets, ignoredLabel)), 'f32');
  const counts = g.reduceSum(g.reshape(counted, [batch, time]), 1);
  const sums = g.reduceSum(g.reshape(rows, [batch, time]), 1);
  const mean = g.div(g.reduceSum(sums, 0, true), g.maximum(g.reduceSum(counts, 0, true), 1));
  return { mean, sums, counts, targets, rows };
}

/** The loss to descend, without the MTP layers' part. */
function addLosses(g: GraphBuilder, table: Tensor, labels: Tensor, zLoss: number): Tensor {
  const { mean, sums, counts, targets, rows } = meanLoss(g, table, labels);
  g.output('sequence_loss', g.div(sums, g.maximum(counts, 1)));
  g.output('sequence_tokens', counts);
  if (zLoss === 0) return mean;
  // −log softmax(x)[label] = logsumexp(x) − x[label]
  const isCounted = g.not(g.equal(targets, ignoredLabel));
  const ids = g.reshape(g.where(isCounted, targets, 0), [targets.shape[0]!, 1]);
  const picked = g.reshape(g.gatherElements(table, ids, 1), rows.shape);
  const squares = g.where(isCounted, g.square(g.add(rows, picked)), 0);
  const z = g.div(g.reduceSum(squares, 0, true), g.maximum(g.reduceSum(counts, 0, true), 1));
  g.output('z_loss', z);
  return g.add(mean, g.mul(z, zLoss));
}

/** Of weights (n) ≥ 0, normalised: (1). */
function entropyOf(g: GraphBuilder, weights: Tensor): Tensor {
  const shares = g.div(weights, g.maximum(g.reduceSum(weights, 0, true), 1e-30));
  return g.neg(g.reduceSum(g.mul(shares, g.log(g.maximum(shares, 1e-30))), 0, true));
}

const trainedNames = (config: QuasarLongConfig, frozen: ReadonlySet<string> = new Set()): string[] =>
  buildContract(config).flatMap(({ name, kind }) => (kind === 'param' && !frozen.has(name) ? [name] : []));

function addGradients(g: GraphBuilder, names: string[], run: Forward, loss: Tensor): string[] {
  const values = gradients(
    g,
    loss,
    names.map((name) => run.scope.param(name)),
  );
  names.forEach((name, i) => void g.output(`grad:${name}`, values[i]!));
  return names;
}
