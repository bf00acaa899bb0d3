/**
 * @file Rows of numbers in two bytes, one or half a byte each, in blocks of 256 with one float32 scale (layout: `rounded-state.ts`). Rounding is a draw
 * from (number, seed): right on average, and the same on every machine.
 */

const blockNumbers = 256;
/** Scales below are written as 0, and their block with them. */
const leastScale = 2 ** -126;

/** Of a code. */
export type RowBits = 4 | 8 | 16;

export const rowBytes = (numbers: number, bits: RowBits): number =>
  4 * Math.ceil(numbers / blockNumbers) + 4 * Math.ceil((numbers * bits) / 32);

export interface Row {
  readonly bits: RowBits;
  readonly scales: Float32Array;
  /** Two of 4 bits in a byte, the first in the low half; 16 bits little endian. */
  readonly codes: Uint8Array;
}

/** The row that begins at a multiple of 4. */
export function rowAt(bytes: Uint8Array, at: number, numbers: number, bits: RowBits): Row {
  const scales = Math.ceil(numbers / blockNumbers);
  const from = at + 4 * scales;
  return {
    bits,
    scales: new Float32Array(bytes.buffer, bytes.byteOffset + at, scales),
    codes: bytes.subarray(from, from + Math.ceil((numbers * bits) / 8)),
  };
}

/** Of row `row` of the state after so many steps. */
export const rowSeed = (innerSteps: number, row: number): number =>
  (Math.imul(innerSteps % 2 ** 32, 0x27d4eb2f) + Math.imul(row + 1, 0x165667b1)) | 0;

/** 32 bits of a draw, as an int32 (the finaliser of MurmurHash3, on number and seed). */
function draw(number: number, seed: number): number {
  let h = Math.imul(number, 0x9e3779b1) ^ seed;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** Scale of a block whose greatest magnitude is to have the greatest code. */
function scaleOf(greatest: number, top: number): number {
  const scale = Math.fround(greatest / top);
  return scale < leastScale ? 0 : scale;
}

/** x − base in whole codes (x itself where base is null). */
export function roundDifference(row: Row, x: Float32Array, base: Float32Array | null, seed: number): void {
  const { scales } = row;
  const top = 2 ** (row.bits - 1) - 1;
  const codes = new Int16Array(blockNumbers);
  const difference = new Float64Array(blockNumbers);
  for (let from = 0; from < x.length; from += blockNumbers) {
    const count = Math.min(blockNumbers, x.length - from);
    let greatest = 0;
    for (let j = 0; j < count; j++) {
      const d = base === null ? x[from + j]! : x[from + j]! - base[from + j]!;
      difference[j] = d;
      if (!(Math.abs(d) <= greatest)) greatest = Math.abs(d);
    }
    const scale = scaleOf(greatest, top);
    scales[from / blockNumbers] = scale;
    if (scale === 0) codes.fill(0);
    else
      for (let j = 0; j < count; j++) {
        const code = Math.floor(difference[j]! / scale + (draw(from + j, seed) >>> 0) * 2 ** -32);
        codes[j] = code > top ? top : code < -top ? -top : code;
      }
    writeCodes(row, codes, from, count);
  }
}

/** What `roundDifference` wrote, added to `base`. */
export function readDifference(row: Row, base: Float32Array | null, out: Float32Array): void {
  const { scales } = row;
  const codes = new Int16Array(blockNumbers);
  for (let from = 0; from < out.length; from += blockNumbers) {
    const count = Math.min(blockNumbers, out.length - from);
    const scale = scales[from / blockNumbers]!;
    readCodes(row, codes, from, count);
    if (base === null) for (let j = 0; j < count; j++) out[from + j] = codes[j]! * scale;
    // Where nothing is added, no bit of the base changes: −0 + 0 is 0.
    else
      for (let j = 0; j < count; j++)
        out[from + j] = codes[j] === 0 ? base[from + j]! : base[from + j]! + codes[j]! * scale;
  }
}

/** `from`: a multiple of the block. */
function writeCodes({ bits, codes }: Row, block: Int16Array, from: number, count: number): void {
  if (bits === 16) new Int16Array(codes.buffer, codes.byteOffset + 2 * from, count).set(block.subarray(0, count));
  else if (bits === 8) for (let j = 0; j < count; j++) codes[from + j] = block[j]!;
  else {
    if (count % 2 === 1) block[count] = 0;
    for (let j = 0; j < count; j += 2) codes[(from + j) >> 1] = (block[j]! & 0xf) | ((block[j + 1]! & 0xf) << 4);
  }
}

function readCodes({ bits, codes }: Row, block: Int16Array, from: number, count: number): void {
  if (bits === 16) block.set(new Int16Array(codes.buffer, codes.byteOffset + 2 * from, count));
  else if (bits === 8) for (let j = 0; j < count; j++) block[j] = (codes[from + j]! << 24) >> 24;
  else for (let j = 0; j < count; j++) block[j] = ((codes[(from + j) >> 1]! >> (4 * (j & 1))) << 28) >> 28;
}

/** Magnitudes as codes of 4 bits of exponent and `fractionBits`: the float32's exponent counts from 127, ours from 15. */
class Floats {
  /** By code. */
  readonly values: Float64Array;
  /** Greatest of a scale's. */
  readonly top: number;
  readonly #fractionBits: number;
  readonly #ratios = new Float32Array(blockNumbers);
  readonly #bits = new Uint32Array(this.#ratios.buffer);

  constructor(fractionBits: number) {
    const one = 1 << fractionBits;
    this.#fractionBits = fractionBits;
    this.values = Float64Array.from({ length: 16 << fractionBits }, (_, code) =>
      code === 0 ? 0 : (1 + (code % one) / one) * 2 ** ((code >> fractionBits) - 15),
    );
    this.top = this.values.at(-1)!;
  }

  /** Codes of `magnitudes` (a block of numbers from `from` on) over `scale`, which is not 0. */
  encode(magnitudes: Float64Array, scale: number, out: Uint8Array, from: number, count: number, seed: number): void {
    const ratios = this.#ratios;
    const bits = this.#bits;
    for (let j = 0; j < count; j++) ratios[j] = magnitudes[j]! / scale;
    const dropped = 23 - this.#fractionBits;
    const kept = 32 - dropped;
    const zero = 112 << this.#fractionBits;
    const most = this.values.length - 1;
    for (let j = 0; j < count; j++) {
      const code = ((bits[j]! + (draw(from + j, seed) >>> kept)) >>> dropped) - zero;
      out[from + j] = code < 0 ? 0 : code > most ? most : code;
    }
  }
}

const signed = new Floats(3);
const unsigned = new Floats(4);

export function roundMoments({ scales, codes }: Row, x: Float32Array, seed: number): void {
  const magnitudes = new Float64Array(blockNumbers);
  for (let from = 0; from < x.length; from += blockNumbers) {
    const count = Math.min(blockNumbers, x.length - from);
    let greatest = 0;
    for (let j = 0; j < count; j++) {
      const magnitude = Math.abs(x[from + j]!);
      magnitudes[j] = magnitude;
      if (!(magnitude <= greatest)) greatest = magnitude;
    }
    const scale = scaleOf(greatest, signed.top);
    scales[from / blockNumbers] = scale;
    if (scale === 0) continue;
    signed.encode(magnitudes, scale, codes, from, count, seed);
    for (let i = from; i < from + count; i++) if (x[i]! < 0 && codes[i] !== 0) codes[i]! |= 0x80;
  }
}

export function readMoments({ scales, codes }: Row, out: Float32Array): void {
  const { values } = signed;
  for (let from = 0; from < out.length; from += blockNumbers) {
    const end = Math.min(out.length, from + blockNumbers);
    const scale = scales[from / blockNumbers]!;
    for (let i = from; i < end; i++) {
      const code = codes[i]!;
      const value = values[code & 0x7f]! * scale;
      out[i] = code > 0x7f ? -value : value;
    }
  }
}

/** Of numbers that are not negative, by their roots. Never 0 where the number is not: a step divides by them. */
export function roundSecondMoments({ scales, codes }: Row, x: Float32Array, seed: number): void {
  const roots = new Float64Array(blockNumbers);
  for (let from = 0; from < x.length; from += blockNumbers) {
    const count = Math.min(blockNumbers, x.length - from);
    let greatest = 0;
    for (let j = 0; j < count; j++) {
      const root = Math.sqrt(x[from + j]!);
      roots[j] = root;
      if (!(root <= greatest)) greatest = root;
    }
    const scale = scaleOf(greatest, unsigned.top);
    scales[from / blockNumbers] = scale;
    if (scale === 0) continue;
    unsigned.encode(roots, scale, codes, from, count, seed);
    for (let i = from; i < from + count; i++) if (codes[i] === 0 && x[i] !== 0) codes[i] = 1;
  }
}

export function readSecondMoments({ scales, codes }: Row, out: Float32Array): void {
  const { values } = unsigned;
  for (let from = 0; from < out.length; from += blockNumbers) {
    const end = Math.min(out.length, from + blockNumbers);
    const scale = scales[from / blockNumbers]!;
    for (let i = from; i < end; i++) {
      const root = values[codes[i]!]! * scale;
      out[i] = root * root;
    }
  }
}
