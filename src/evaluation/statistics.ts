/**
 * @file Means with their standard errors and 95 % intervals, and tests of paired measurements. Items are taken as
 * independent draws: the intervals say how the result would vary with other items, not with another training.
 */
import { assert } from '../util/errors.ts';
import { studentTQuantile, studentTTwoSided } from './student-t.ts';

export interface Estimate {
  readonly value: number;
  /** Infinite with a single item. */
  readonly standardError: number;
  /** Bounds of the 95 % interval. */
  readonly low: number;
  readonly high: number;
  readonly items: number;
}

const level = 0.975;
const z = 1.959963984540054;

/**
 * Σ w·x / Σ w over items, as a ratio of two sums (Cochran, Sampling Techniques, §6): its standard error counts each item
 * (a sequence) once, however many tokens it has. Student's t with n − 1 degrees of freedom.
 */
export function weightedMean(values: ArrayLike<number>, weights: ArrayLike<number>): Estimate {
  const items = values.length;
  assert(items > 0 && weights.length === items, `weightedMean: ${items} values, ${weights.length} weights`);
  let [sum, total] = [0, 0];
  for (let i = 0; i < items; i++) {
    sum += values[i]! * weights[i]!;
    total += weights[i]!;
  }
  assert(total > 0, 'weightedMean: the weights add up to nothing');
  const value = sum / total;
  if (items === 1) return { value, standardError: Infinity, low: -Infinity, high: Infinity, items };
  let squares = 0;
  for (let i = 0; i < items; i++) squares += (weights[i]! * (values[i]! - value)) ** 2;
  const standardError = Math.sqrt((squares * items) / (items - 1)) / total;
  const half = studentTQuantile(level, items - 1) * standardError;
  return { value, standardError, low: value - half, high: value + half, items };
}

/**
 * A share of right answers. The standard error is the sample's (divisor n − 1), as lm-evaluation-harness gives it; the
 * interval is Wilson's score interval, which stays within [0, 1] and is sound for few items and extreme shares.
 */
export function proportion(right: number, items: number): Estimate {
  assert(items > 0 && right >= 0 && right <= items, `proportion: ${right} of ${items}`);
  const value = right / items;
  const standardError = items === 1 ? Infinity : Math.sqrt((value * (1 - value)) / (items - 1));
  const centre = (value + z ** 2 / (2 * items)) / (1 + z ** 2 / items);
  const half = (z / (1 + z ** 2 / items)) * Math.sqrt((value * (1 - value)) / items + z ** 2 / (4 * items ** 2));
  return { value, standardError, low: Math.max(0, centre - half), high: Math.min(1, centre + half), items };
}

export interface PairedTest {
  readonly test: 'paired t' | 'McNemar, exact';
  /** Mean of second − first. */
  readonly difference: Estimate;
  /** Two-sided: how often chance alone gives a difference at least so large. */
  readonly p: number;
}

/** Paired t-test of weighted means on the same items. */
export function pairedT(first: ArrayLike<number>, second: ArrayLike<number>, weights: ArrayLike<number>): PairedTest {
  assert(first.length === second.length, `pairedT: ${first.length} and ${second.length} items`);
  const difference = weightedMean(
    Array.from(second, (value, i) => value - first[i]!),
    weights,
  );
  return { test: 'paired t', difference, p: pOf(difference) };
}

function pOf({ value, standardError, items }: Estimate): number {
  if (value === 0 || items < 2) return 1;
  return standardError === 0 ? 0 : studentTTwoSided(value / standardError, items - 1);
}

/**
 * Of answers that are right or wrong, on the same items. Only items that the two answer differently say anything: under
 * the hypothesis of no difference each falls either way with probability 1/2 (McNemar, by the binomial distribution).
 */
export function mcNemar(first: readonly boolean[], second: readonly boolean[]): PairedTest {
  assert(first.length === second.length && first.length > 0, `mcNemar: ${first.length} and ${second.length} items`);
  const gained = second.filter((isRight, i) => isRight && !first[i]).length;
  const lost = first.filter((isRight, i) => isRight && !second[i]).length;
  const ones = new Float64Array(first.length).fill(1);
  const { difference } = pairedT(first.map(Number), second.map(Number), ones);
  return { test: 'McNemar, exact', difference, p: binomialTwoSided(Math.min(gained, lost), gained + lost) };
}

/** P of at most `few` or at least `n − few` heads of n fair coins. */
function binomialTwoSided(few: number, n: number): number {
  if (n === 0 || 2 * few === n) return 1;
  let term = n * Math.log(0.5); // ln of C(n, k) / 2^n
  let sum = Math.exp(term);
  for (let k = 1; k <= few; k++) {
    term += Math.log((n - k + 1) / k);
    sum += Math.exp(term);
  }
  return Math.min(1, 2 * sum);
}
