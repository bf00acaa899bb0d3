/**
 * @file ggml's types with blocks of 32: Q8_0, Q4_0, MXFP4. The arithmetic is float32 at each step, in ggml's order, so that
 * the bytes are those of its reference (tests/vectors/quantise).
 */
import { type BlockType, blockType, putHalf, readHalf } from './block-type.ts';

const size = 32;
const { fround, abs, trunc } = Math;

/** f16 d, 32 int8: x ≈ d·q. */
export const q8_0: BlockType = blockType(
  { elements: size, bytes: 34 },
  (values, from, out, at) => {
    const d = fround(abs(values[largest(values, from)]!) / 127);
    const inverse = d === 0 ? 0 : fround(1 / d);
    putHalf(out, at, d);
    for (let i = 0; i < size; i++) out[at + 2 + i] = roundHalfAway(fround(values[from + i]! * inverse));
  },
  (bytes, at, out, to) => {
    const d = readHalf(bytes, at);
    for (let i = 0; i < size; i++) out[to + i] = d * ((bytes[at + 2 + i]! << 24) >> 24);
  },
);

/** f16 d, 16 bytes of two codes, element i low and i + 16 high: x ≈ d·(q − 8); the largest element gets code 0. */
export const q4_0: BlockType = blockType(
  { elements: size, bytes: 18 },
  (values, from, out, at) => {
    const d = fround(values[largest(values, from)]! / -8);
    const inverse = d === 0 ? 0 : fround(1 / d);
    putHalf(out, at, d);
    const code = (value: number) => Math.min(15, trunc(fround(fround(value * inverse) + 8.5)));
    for (let i = 0; i < 16; i++) out[at + 2 + i] = code(values[from + i]!) | (code(values[from + i + 16]!) << 4);
  },
  (bytes, at, out, to) => {
    const d = readHalf(bytes, at);
    for (let i = 0; i < 16; i++) {
      out[to + i] = d * ((bytes[at + 2 + i]! & 15) - 8);
      out[to + i + 16] = d * ((bytes[at + 2 + i]! >>> 4) - 8);
    }
  },
);

/** Twice the values of FP4 (E2M1), so that they are whole; the second half has the sign. */
const fp4 = [0, 1, 2, 3, 4, 6, 8, 12, -0, -1, -2, -3, -4, -6, -8, -12];

/** A power of two (E8M0), 16 bytes of two FP4 codes as in Q4_0. */
export const mxfp4: BlockType = blockType(
  { elements: size, bytes: 17 },
  (values, from, out, at) => {
    const amax = abs(values[largest(values, from)]!);
    const exponent = amax === 0 ? 0 : floorLog2(amax) - 2 + 127;
    out[at] = exponent;
    const scale = halfPower(out[at]!);
    for (let i = 0; i < 16; i++)
      out[at + 1 + i] = nearestFp4(values[from + i]!, scale) | (nearestFp4(values[from + i + 16]!, scale) << 4);
  },
  (bytes, at, out, to) => {
    const scale = halfPower(bytes[at]!);
    for (let i = 0; i < 16; i++) {
      out[to + i] = fp4[bytes[at + 1 + i]! & 15]! * scale;
      out[to + i + 16] = fp4[bytes[at + 1 + i]! >>> 4]! * scale;
    }
  },
);

/** Half of 2^(e − 127). */
const halfPower = (exponent: number): number => 2 ** (exponent - 128);

/** Of a positive number that is no subnormal double. */
function floorLog2(value: number): number {
  const power = Math.floor(Math.log2(value));
  // The logarithm rounds up just below a power of two.
  return 2 ** power > value ? power - 1 : 2 ** (power + 1) <= value ? power + 1 : power;
}

/** Halfway between neighbours of `fp4`. */
const fp4Edges = [0.5, 1.5, 2.5, 3.5, 5, 7, 10];

/** Of two equally near codes the one nearer to zero; zero has no sign. Exact, as `scale` is a power of two. */
function nearestFp4(value: number, scale: number): number {
  const size = abs(value) / scale;
  let code = 0;
  while (code < 7 && size > fp4Edges[code]!) code++;
  return value < 0 && code > 0 ? code + 8 : code;
}

/** Of the elements of a block the first with the largest magnitude. */
function largest(values: Float32Array, from: number): number {
  let best = from;
  let most = abs(values[from]!);
  for (let i = from + 1; i < from + size; i++) {
    const magnitude = abs(values[i]!);
    if (magnitude > most) {
      most = magnitude;
      best = i;
    }
  }
  return best;
}

function roundHalfAway(value: number): number {
  return value < 0 ? -Math.floor(0.5 - value) : Math.floor(value + 0.5);
}
