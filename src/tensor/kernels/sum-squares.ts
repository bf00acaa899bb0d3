/** @file Σ x² of a buffer that lies in kernel memory, bit for bit the same on every machine. */
import type { KernelMemory, Region } from './memory.ts';

/** float32 numbers in a 4 MiB piece. */
const pieceElements = 1_048_576;

/**
 * float64 squares, element i of a 4 MiB piece into lane i mod 16 of `lanes` (128 bytes of the same memory), lanes of a
 * piece added in order, pieces added in order. NaN or infinity in gives NaN or infinity out.
 */
export function sumSquaresOf(memory: KernelMemory, x: Region, lanes: Region): number {
  const view = memory.f64(lanes);
  const length = x.byteLength >>> 2;
  let sum = 0;
  for (let start = 0; start < length; start += pieceElements) {
    const n = Math.min(pieceElements, length - start);
    view.fill(0);
    memory.kernels.sumSquares(x.byteOffset + 4 * start, n, lanes.byteOffset);
    let piece = 0;
    for (const lane of view) piece += lane;
    sum += piece;
  }
  return sum;
}
