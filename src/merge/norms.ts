/**
 * @file Norms of pseudo-gradients, the same to the bit on every machine: squares in float64, element i of a 4 MiB piece
 * into lane i mod 16, the lanes of a piece added in order 0..15, the pieces added in order. Pieces are counted from the
 * range's start and are independent, so they may be computed in parallel.
 */
import type { Region } from '../tensor/kernels/memory.ts';
import { type Staging, sharedStaging } from './staging.ts';

/** float32 numbers in a 4 MiB piece. */
export const pieceElements = 1_048_576;

/** Elements [from, to) of a packed fragment. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/** The lanes of one piece added in order. */
export function sumLanes(lanes: Float64Array): number {
  let sum = 0;
  for (const lane of lanes) sum += lane;
  return sum;
}

/** Calls `addBlock` for blocks of at most `blockElements` (a multiple of 16) and returns the sum of the pieces. */
export function sumPieces(
  staging: Staging,
  lanes: Region,
  range: Range,
  blockElements: number,
  addBlock: (from: number, to: number) => void,
): number {
  const view = staging.memory.f64(lanes);
  let sum = 0;
  for (let piece = range.from; piece < range.to; piece += pieceElements) {
    const end = Math.min(range.to, piece + pieceElements);
    view.fill(0);
    for (let from = piece; from < end; from += blockElements) addBlock(from, Math.min(end, from + blockElements));
    sum += sumLanes(view);
  }
  return sum;
}

const normBlock = 16_384;

/** Σ x² over the range. NaN or infinity in gives NaN or infinity out. */
export function sumOfSquares(staging: Staging, x: Float32Array, range: Range = { from: 0, to: x.length }): number {
  const { block, lanes } = staging.layOut({ block: 4 * normBlock, lanes: 128 });
  const view = staging.memory.f32(block);
  const resident = staging.memory.addressOf(x);
  return sumPieces(staging, lanes, range, normBlock, (from, to) => {
    if (resident === null) view.set(x.subarray(from, to));
    const at = resident === null ? block.byteOffset : resident + 4 * from;
    staging.kernels.sumSquares(at, to - from, lanes.byteOffset);
  });
}

/** ‖Δ‖ of a packed fragment, as a merge computes it. */
export function pseudoGradientNorm(params: Float32Array, staging: Staging = sharedStaging()): number {
  return Math.sqrt(sumOfSquares(staging, params));
}

export interface WeightedNorm {
  /** Per √(inner steps). */
  readonly norm: number;
  readonly tokens: number;
}

/** The least norm at which half of the tokens are reached; 0 of an empty list. Order of the list does not matter. */
export function weightedMedian(norms: readonly WeightedNorm[]): number {
  const sorted = [...norms].sort((a, b) => a.norm - b.norm || a.tokens - b.tokens);
  const half = sorted.reduce((sum, { tokens }) => sum + tokens, 0) / 2;
  let reached = 0;
  for (const { norm, tokens } of sorted) {
    reached += tokens;
    if (reached >= half) return norm;
  }
  return 0;
}

export interface ClipOptions {
  /** Norms above this multiple of the median are scaled down to it. */
  readonly multiple: number;
  /** With fewer claims than this, the fragment's recent merges are pooled with them. */
  readonly smallCohort: number;
}

/** Factors in (0, 1], in the order of `cohort`; all norms per √(inner steps). */
export function clipFactors(
  cohort: readonly WeightedNorm[],
  recent: readonly WeightedNorm[],
  { multiple, smallCohort }: ClipOptions,
): number[] {
  const bound = multiple * weightedMedian(cohort.length < smallCohort ? [...cohort, ...recent] : cohort);
  return cohort.map(({ norm }) => (norm > bound ? bound / norm : 1));
}
