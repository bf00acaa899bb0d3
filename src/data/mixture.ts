/**
 * @file Which source each position of the data order draws from: a fixed cycle in which every prefix holds each
 * source's share within one sequence. Pure and O(1) a position once the cycle is laid out.
 */
import { DataError } from './errors.ts';

/** Longest cycle that is laid out in memory: the sum of the shares after division by their common divisor. */
const MAX_CYCLE = 1 << 22;

export interface MixtureCycle {
  /** Sources in code-unit order of their names, so that the order of a JSON object's keys does not matter. */
  readonly sources: readonly string[];
  /** Reduced integer shares; their sum is the cycle's length. */
  readonly shares: readonly number[];
  /** Source index at each place of the cycle. */
  readonly sourceAt: Uint16Array;
  /** How many earlier places of the cycle have the same source. */
  readonly rankAt: Uint32Array;
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

/**
 * Lays out one cycle. Each source's n-th draw has the window [⌊(n−1)/p⌋, ⌈n/p⌉) of places, p its share of the whole;
 * serving the earliest deadline among the open windows always meets all of them (Baruah et al., "Proportionate
 * progress", 1996), which keeps |draws − p·places| below 1 everywhere.
 */
export function layOutCycle(mixture: Readonly<Record<string, number>>): MixtureCycle {
  const sources = Object.keys(mixture).sort();
  const whole = sources.map((source) => mixture[source]!);
  if (sources.length === 0 || whole.some((share) => !Number.isSafeInteger(share) || share < 1)) {
    throw new DataError('BAD_MIXTURE', `mixture: expected whole shares ≥ 1, got ${JSON.stringify(mixture)}`);
  }
  const divisor = whole.reduce(gcd);
  const shares = whole.map((share) => share / divisor);
  const length = shares.reduce((sum, share) => sum + share, 0);
  if (length > MAX_CYCLE || sources.length > 65_535) {
    throw new DataError('BAD_MIXTURE', `mixture: shares add up to ${length} in lowest terms, bound ${MAX_CYCLE}`);
  }
  const sourceAt = new Uint16Array(length);
  const rankAt = new Uint32Array(length);
  const drawn = new Array<number>(shares.length).fill(0);
  for (let place = 0; place < length; place++) {
    let best = -1;
    for (let i = 0; i < shares.length; i++) {
      // The window of draw n+1 is open once n/p ≤ place, i.e. n·length < (place + 1)·share.
      if (drawn[i]! * length >= (place + 1) * shares[i]!) continue;
      if (best < 0 || (drawn[i]! + 1) * shares[best]! < (drawn[best]! + 1) * shares[i]!) best = i;
    }
    sourceAt[place] = best;
    rankAt[place] = drawn[best]!++;
  }
  return { sources, shares, sourceAt, rankAt };
}

/** The source index at a position of the order, and how many earlier positions drew from the same source. */
export function drawAt(cycle: MixtureCycle, position: number): { readonly source: number; readonly draw: number } {
  const length = cycle.sourceAt.length;
  const place = position % length;
  const source = cycle.sourceAt[place]!;
  return { source, draw: ((position - place) / length) * cycle.shares[source]! + cycle.rankAt[place]! };
}
