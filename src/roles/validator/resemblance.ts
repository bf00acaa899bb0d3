/**
 * @file Does a claim resemble what another hotkey revealed before it was committed? Compared on a few thousand positions that
 * only this validator knows: who copies cannot spare just them. Suspicion, never a reason to refuse.
 */
import { Rng } from '../../util/rng.ts';

/** A cosine over so many positions of unrelated values has a standard error below 0.01. */
const sketchSize = 16_384;
/** Of these codecs the positions that are set say as much as the values. */
export const sparseCodecs: ReadonlySet<string> = new Set(['topk']);

export type Sketch = Float32Array;

/** Positions of a fragment that sketches are taken at; all of a small one. */
export function sketchPositions(seed: string, elementCount: number): Uint32Array {
  if (elementCount <= sketchSize) return Uint32Array.from({ length: elementCount }, (_, i) => i);
  const rng = new Rng(`${seed} sketch ${elementCount}`);
  return Uint32Array.from({ length: sketchSize }, () => rng.below(elementCount)).sort();
}

export const takeSketch = (values: Float32Array, positions: Uint32Array): Sketch =>
  Float32Array.from(positions, (position) => values[position]!);

/** Cosine of two sketches, or for sparse codecs the share of common positions where that is more. 0 for nothing. */
export function resemblance(a: Sketch, b: Sketch, { isSparse }: { readonly isSparse: boolean }): number {
  let [dot, aa, bb, inA, inB, inBoth] = [0, 0, 0, 0, 0, 0];
  for (const [i, x] of a.entries()) {
    const y = b[i]!;
    dot += x * y;
    aa += x * x;
    bb += y * y;
    if (x !== 0) inA++;
    if (y !== 0) inB++;
    if (x !== 0 && y !== 0) inBoth++;
  }
  const cosine = aa === 0 || bb === 0 ? 0 : dot / Math.sqrt(aa * bb);
  const fewest = Math.min(inA, inB);
  const overlap = isSparse && fewest > 0 ? inBoth / fewest : 0;
  return Math.max(cosine, overlap);
}
