/**
 * @file ggml's K-quants, blocks of 256 in sub-blocks whose scales are small integers: Q4_K, Q5_K (scale and minimum) and
 * Q6_K (scale). The layout is ggml's; the scales are searched here, for the least squared error: fits of a line to the
 * codes, from several starts. Compared with ggml's error in tests/vectors/quantise.
 */
import { type BlockType, blockType, putHalf, readHalf } from './block-type.ts';

const size = 256;

/** How far beyond the range of the values the codes reach at the starts of a search. */
const rangeStarts = [-0.9, -0.5, -0.1, 0.3];
const fits = 3;

interface Fit {
  scale: number;
  /** Subtracted; never negative. */
  minimum: number;
  error: number;
}

/** Sub-blocks of 32; x ≈ d·s·q − dmin·m with 6-bit s, m. Q5_K has the fifth bits in 32 bytes before the nibbles. */
function scaledAndShifted(maxCode: 15 | 31): BlockType {
  const nibblesAt = maxCode === 15 ? 16 : 48;
  const codes = new Uint8Array(size);
  const scales = new Float64Array(8);
  const minima = new Float64Array(8);
  const [steps, shifts] = [new Uint8Array(8), new Uint8Array(8)];
  const fit: Fit = { scale: 0, minimum: 0, error: 0 };
  return blockType(
    { elements: size, bytes: nibblesAt + 128 },
    (values, from, out, at) => {
      for (let s = 0; s < 8; s++) {
        fitLine(values, from + 32 * s, maxCode, fit);
        scales[s] = fit.scale;
        minima[s] = fit.minimum;
      }
      const d = putHalf(out, at, largestOf(scales) / 63);
      const dmin = putHalf(out, at + 2, largestOf(minima) / 63);
      for (let s = 0; s < 8; s++) {
        steps[s] = d > 0 ? Math.min(63, Math.round(scales[s]! / d)) : 0;
        shifts[s] = dmin > 0 ? Math.min(63, Math.round(minima[s]! / dmin)) : 0;
        toCodes(values, from + 32 * s, { scale: d * steps[s]!, minimum: dmin * shifts[s]! }, codes, 32 * s, maxCode);
      }
      packSixBits(steps, shifts, out, at + 4);
      packNibbles(codes, out, at + nibblesAt);
      if (maxCode === 31) packFifthBits(codes, out, at + 16);
    },
    (bytes, at, out, to) => {
      const [d, dmin] = [readHalf(bytes, at), readHalf(bytes, at + 2)];
      for (let i = 0; i < size; i++) {
        const s = i >>> 5;
        const pair = bytes[at + nibblesAt + 32 * (s >>> 1) + (i & 31)]!;
        const high = maxCode === 31 ? ((bytes[at + 16 + (i & 31)]! >>> s) & 1) << 4 : 0;
        const code = ((s & 1 ? pair >>> 4 : pair & 15) | high) >>> 0;
        const { step, shift } = sixBits(bytes, at + 4, s);
        out[to + i] = Math.fround(Math.fround(d * step) * code) - Math.fround(dmin * shift);
      }
    },
  );
}

export const q4_K: BlockType = scaledAndShifted(15);
export const q5_K: BlockType = scaledAndShifted(31);

/** Of 32 values the line scale·q − minimum with the least squared error, q from 0 to `maxCode`. */
function fitLine(values: Float32Array, from: number, maxCode: number, best: Fit): void {
  let [low, high] = [0, Number.NEGATIVE_INFINITY];
  for (let i = from; i < from + 32; i++) {
    const value = values[i]!;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  best.scale = 0;
  best.minimum = -low;
  best.error = Number.POSITIVE_INFINITY;
  if (high <= low) return;
  for (const start of rangeStarts) {
    let scale = (high - low) / (maxCode + start);
    let minimum = -low;
    for (let turn = 0; turn <= fits; turn++) {
      const inverse = 1 / scale;
      let [error, sumCode, sumSquare, sumValue, sumProduct] = [0, 0, 0, 0, 0];
      for (let i = from; i < from + 32; i++) {
        const value = values[i]!;
        const ideal = (value + minimum) * inverse + 0.5;
        const code = ideal <= 0 ? 0 : ideal >= maxCode ? maxCode : Math.floor(ideal);
        const off = scale * code - minimum - value;
        error += off * off;
        sumCode += code;
        sumSquare += code * code;
        sumValue += value;
        sumProduct += code * value;
      }
      if (error < best.error) {
        best.scale = scale;
        best.minimum = minimum;
        best.error = error;
      }
      // Equal codes determine no line, but one through zero.
      const determinant = 32 * sumSquare - sumCode * sumCode;
      scale = determinant > 0 ? (32 * sumProduct - sumCode * sumValue) / determinant : 0;
      minimum = determinant > 0 ? (scale * sumCode - sumValue) / 32 : -1;
      if (minimum < 0) {
        minimum = 0;
        scale = sumProduct / sumSquare;
      }
      if (!(scale > 0)) break;
    }
  }
}

function toCodes(
  values: Float32Array,
  from: number,
  { scale, minimum }: { readonly scale: number; readonly minimum: number },
  codes: Uint8Array,
  to: number,
  maxCode: number,
): void {
  for (let i = 0; i < 32; i++) {
    const ideal = scale > 0 ? (values[from + i]! + minimum) / scale + 0.5 : 0;
    codes[to + i] = ideal <= 0 ? 0 : ideal >= maxCode ? maxCode : Math.floor(ideal);
  }
}

/** Steps and shifts of eight sub-blocks in 12 bytes: four whole, of the others the upper two bits lie above the first's six. */
function packSixBits(steps: Uint8Array, shifts: Uint8Array, out: Uint8Array, at: number): void {
  for (let i = 0; i < 4; i++) {
    out[at + i] = steps[i]! | ((steps[i + 4]! >>> 4) << 6);
    out[at + 4 + i] = shifts[i]! | ((shifts[i + 4]! >>> 4) << 6);
    out[at + 8 + i] = (steps[i + 4]! & 15) | ((shifts[i + 4]! & 15) << 4);
  }
}

function sixBits(bytes: Uint8Array, at: number, s: number): { readonly step: number; readonly shift: number } {
  if (s < 4) return { step: bytes[at + s]! & 63, shift: bytes[at + 4 + s]! & 63 };
  const low = bytes[at + 4 + s]!;
  return { step: (low & 15) | ((bytes[at + s - 4]! >>> 6) << 4), shift: (low >>> 4) | ((bytes[at + s]! >>> 6) << 4) };
}

function packNibbles(codes: Uint8Array, out: Uint8Array, at: number): void {
  for (let pair = 0; pair < 4; pair++)
    for (let i = 0; i < 32; i++)
      out[at + 32 * pair + i] = (codes[64 * pair + i]! & 15) | ((codes[64 * pair + 32 + i]! & 15) << 4);
}

function packFifthBits(codes: Uint8Array, out: Uint8Array, at: number): void {
  for (let i = 0; i < 32; i++) {
    let bits = 0;
    for (let s = 0; s < 8; s++) bits |= (codes[32 * s + i]! >>> 4) << s;
    out[at + i] = bits;
  }
}

/** Steps around the scale that maps the largest value to −32. */
const scaleStarts = [-32, -31.4, -30.8];

const sixScales = new Float64Array(16);
const sixCodes = new Uint8Array(size);

/** Sub-blocks of 16 with int8 scales: x ≈ d·s·(q − 32); q as 4 and 2 bits. */
export const q6_K: BlockType = blockType(
  { elements: size, bytes: 210 },
  (values, from, out, at) => {
    let largest = 0;
    for (let s = 0; s < 16; s++) {
      const scale = fitScale(values, from + 16 * s);
      sixScales[s] = scale;
      if (Math.abs(scale) > Math.abs(largest)) largest = scale;
    }
    // The largest scale is -128 steps: int8 has one more of these.
    const d = putHalf(out, at + 208, largest / -128);
    for (let s = 0; s < 16; s++) {
      const step = d === 0 ? 0 : Math.max(-128, Math.min(127, Math.round(sixScales[s]! / d)));
      out[at + 192 + s] = step;
      const scale = d * step;
      for (let i = 16 * s; i < 16 * s + 16; i++)
        sixCodes[i] = scale === 0 ? 32 : Math.max(0, Math.min(63, Math.floor(values[from + i]! / scale + 32.5)));
    }
    packSix(sixCodes, out, at);
  },
  (bytes, at, out, to) => {
    const d = readHalf(bytes, at + 208);
    for (let half = 0; half < 2; half++)
      for (let i = 0; i < 128; i++) {
        const [l, quarter] = [i & 31, i >>> 5];
        const low = bytes[at + 64 * half + l + 32 * (quarter & 1)]!;
        const high = (bytes[at + 128 + 32 * half + l]! >>> (2 * quarter)) & 3;
        const code = (quarter >= 2 ? low >>> 4 : low & 15) | (high << 4);
        const step = (bytes[at + 192 + 8 * half + (i >>> 4)]! << 24) >> 24;
        out[to + 128 * half + i] = Math.fround(d * step) * (code - 32);
      }
  },
);

function packSix(codes: Uint8Array, out: Uint8Array, at: number): void {
  for (let half = 0; half < 2; half++) {
    const base = 128 * half;
    for (let l = 0; l < 32; l++) {
      const [a, b, c, d] = [codes[base + l]!, codes[base + l + 32]!, codes[base + l + 64]!, codes[base + l + 96]!];
      out[at + 64 * half + l] = (a & 15) | ((c & 15) << 4);
      out[at + 64 * half + l + 32] = (b & 15) | ((d & 15) << 4);
      out[at + 128 + 32 * half + l] = (a >>> 4) | ((b >>> 4) << 2) | ((c >>> 4) << 4) | ((d >>> 4) << 6);
    }
  }
}

/** Of 16 values the scale, of either sign, with the least squared error for codes from −32 to 31. */
function fitScale(values: Float32Array, from: number): number {
  let largest = 0;
  for (let i = from; i < from + 16; i++) if (Math.abs(values[i]!) > Math.abs(largest)) largest = values[i]!;
  if (largest === 0) return 0;
  let best = 0;
  let least = Number.POSITIVE_INFINITY;
  for (const start of scaleStarts) {
    let scale = largest / start;
    for (let turn = 0; turn <= fits; turn++) {
      const inverse = 1 / scale;
      let [error, sumSquare, sumProduct] = [0, 0, 0];
      for (let i = from; i < from + 16; i++) {
        const value = values[i]!;
        const ideal = Math.floor(value * inverse + 0.5);
        const code = ideal < -32 ? -32 : ideal > 31 ? 31 : ideal;
        const off = scale * code - value;
        error += off * off;
        sumSquare += code * code;
        sumProduct += code * value;
      }
      if (error < least) {
        least = error;
        best = scale;
      }
      if (sumSquare === 0 || sumProduct === 0) break;
      scale = sumProduct / sumSquare;
    }
  }
  return best;
}

function largestOf(values: Float64Array): number {
  return values.reduce((a, b) => Math.max(a, b), 0);
}
