/**
 * @file Merge rules for runs that expect liars, token-weighted, in plain float64: each takes the clipped pseudo-gradients
 * of all claims in merge order and gives one, rounded to float32 once. Only +, −, ×, ÷, √ and comparisons in a fixed order,
 * so that two machines get the same bits.
 *
 * - `trimmed-mean`: for each number the mean of what is left when the smallest and the largest values are cut off, a share
 *   `trim` of the weight on either side (Yin et al., arXiv:1803.01498, with weights; a value on the border is cut in part).
 * - `median`: for each number the weighted median (the smallest value with at least half of the weight at or below it).
 * - `centred-clip`: v ← v + Σ w·(x − v)·min(1, τ/‖x − v‖), three times from v = the weighted median, τ the weighted median
 *   of ‖x − v‖ (Karimireddy et al., arXiv:2012.10333, whose v starts from the last round's).
 */
import { MergeError } from './errors.ts';
import type { RobustRule, Weighed } from './rules.ts';

export interface RobustInput {
  /** In merge order, all of one length. */
  readonly pseudoGradients: readonly Float32Array[];
  /** In merge order; shares sum to 1 up to rounding. */
  readonly learners: readonly Weighed[];
  /** Share of the weight that `trimmed-mean` cuts off on either side, in [0, 0.5). */
  readonly trim: number;
}

/** They look at one number of all claims at a time. */
export const elementwiseRules = ['trimmed-mean', 'median'] as const;
export type ElementwiseRule = (typeof elementwiseRules)[number];

const clipRounds = 3;

/** One pseudo-gradient for all. @throws MergeError BAD_WEIGHT (trim out of its range) */
export function combineRobustly(rule: RobustRule, input: RobustInput): Float32Array {
  switch (rule) {
    case 'trimmed-mean':
      if (!(input.trim >= 0 && input.trim < 0.5))
        throw new MergeError('BAD_WEIGHT', `trim: expected a share in [0, 0.5), got ${input.trim}`);
      return eachNumber(input, (values, weights) => trimmedMean(values, weights, input.trim));
    case 'median':
      return eachNumber(input, weightedMedianOf);
    case 'centred-clip':
      return centredClip(input);
  }
}

/** `combine` gets the values in ascending order (equal ones in merge order) and their weights; it may change both. */
function eachNumber(
  { pseudoGradients, learners }: RobustInput,
  combine: (values: Float64Array, weights: Float64Array) => number,
): Float32Array {
  const count = learners.length;
  const out = new Float32Array(pseudoGradients[0]!.length);
  const [values, weights] = [new Float64Array(count), new Float64Array(count)];
  for (let i = 0; i < out.length; i++) {
    for (let m = 0; m < count; m++) {
      const { share, clip } = learners[m]!;
      const value = clip * pseudoGradients[m]![i]!;
      // Insertion: few claims, and the order of equal values stays.
      let at = m;
      for (; at > 0 && values[at - 1]! > value; at--) {
        values[at] = values[at - 1]!;
        weights[at] = weights[at - 1]!;
      }
      values[at] = value;
      weights[at] = share;
    }
    out[i] = combine(values, weights);
  }
  return out;
}

function trimmedMean(values: Float64Array, weights: Float64Array, trim: number): number {
  const total = sum(weights);
  cut(weights, trim * total, 0, 1);
  cut(weights, trim * total, weights.length - 1, -1);
  let mean = 0;
  for (let m = 0; m < values.length; m++) mean += weights[m]! * values[m]!;
  return mean / sum(weights);
}

/** Takes `amount` of weight away, from `from` on in direction `by`. */
function cut(weights: Float64Array, amount: number, from: number, by: 1 | -1): void {
  let left = amount;
  for (let m = from; left > 0 && m >= 0 && m < weights.length; m += by) {
    const taken = Math.min(weights[m]!, left);
    weights[m] = weights[m]! - taken;
    left -= taken;
  }
}

function weightedMedianOf(values: Float64Array, weights: Float64Array): number {
  const half = sum(weights) / 2;
  let below = 0;
  for (let m = 0; m < values.length; m++) {
    below += weights[m]!;
    if (below >= half) return values[m]!;
  }
  return values[values.length - 1]!;
}

const sum = (values: Float64Array): number => {
  let total = 0;
  for (const value of values) total += value;
  return total;
};

function centredClip(input: RobustInput): Float32Array {
  const { pseudoGradients, learners } = input;
  let centre = eachNumber(input, weightedMedianOf);
  for (let round = 0; round < clipRounds; round++) {
    const from = centre;
    const distances = pseudoGradients.map((x, m) => distance(x, learners[m]!.clip, from));
    const radius = medianDistance(distances, learners);
    // A claim at the centre has no direction to be clipped in.
    const factors = distances.map((far, m) => learners[m]!.share * (far > radius ? radius / far : 1));
    centre = from.map((v, i) => {
      let next = v;
      for (let m = 0; m < learners.length; m++) next += factors[m]! * (learners[m]!.clip * pseudoGradients[m]![i]! - v);
      return next;
    });
  }
  return centre;
}

function distance(x: Float32Array, clip: number, centre: Float32Array): number {
  let squares = 0;
  for (let i = 0; i < x.length; i++) squares += (clip * x[i]! - centre[i]!) ** 2;
  return Math.sqrt(squares);
}

function medianDistance(distances: readonly number[], learners: readonly Weighed[]): number {
  const order = distances.map((_, m) => m).sort((a, b) => distances[a]! - distances[b]! || a - b);
  return weightedMedianOf(
    Float64Array.from(order, (m) => distances[m]!),
    Float64Array.from(order, (m) => learners[m]!.share),
  );
}
