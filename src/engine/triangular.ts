/** @file Constants of the inverse by block doubling: T_1 = I, T_2s = T_s - T_s (L ⊙ mask_s) T_s for s = 1, 2, 4, .. */

/** `masks[level]` holds 1 in the lower-left s × s block of each diagonal block of size 2s, s = 2^level. Sizes are free. */
export function doublingMasks(size: number): { identity: Float32Array; masks: Float32Array[] } {
  const fill = (test: (row: number, column: number) => boolean): Float32Array =>
    Float32Array.from({ length: size * size }, (_, i) => Number(test(Math.floor(i / size), i % size)));
  const masks: Float32Array[] = [];
  for (let s = 1; s < size; s *= 2)
    masks.push(
      fill((i, j) => Math.floor(i / (2 * s)) === Math.floor(j / (2 * s)) && i % (2 * s) >= s && j % (2 * s) < s),
    );
  return { identity: fill((i, j) => i === j), masks };
}
