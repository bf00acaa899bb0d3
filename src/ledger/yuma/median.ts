/** @file The stake-weighted median of Yuma consensus, with the tie rules of the chain's `weighted_median`. */
import { sum } from './fixed.ts';

/**
 * The score at which stake from below first exceeds `minority`: strict below, inclusive above. Partitions around the middle
 * element of those that remain, as the chain does; `stake` and `score` hold one entry a row.
 */
export function weightedMedian(stake: ArrayLike<number>, score: ArrayLike<number>, minority: number): number {
  let rows = Array.from({ length: stake.length }, (_, row) => row);
  let below = 0;
  let upTo = sum(stake);
  while (rows.length > 1) {
    const pivot = score[rows[rows.length >> 1]!]!;
    const lower: number[] = [];
    const upper: number[] = [];
    let lowerStake = 0;
    let upperStake = 0;
    for (const row of rows) {
      if (score[row]! < pivot) {
        lower.push(row);
        lowerStake += stake[row]!;
      } else if (score[row]! > pivot) {
        upper.push(row);
        upperStake += stake[row]!;
      }
    }
    if (lower.length > 0 && minority < below + lowerStake) {
      rows = lower;
      upTo = below + lowerStake;
    } else if (upper.length > 0 && upTo - upperStake <= minority) {
      rows = upper;
      below = upTo - upperStake;
    } else return pivot;
  }
  return rows.length === 1 ? score[rows[0]!]! : 0;
}
