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

/** 32 bits of a draw (the finaliser of MurmurHash3, on number and seed). */
function draw(number: number, seed: number): number {
  let h = Math.imul(number, 0x9e3779b1) ^ seed;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Scale of a block whose greatest magnitude is to have the greatest code. */
function scaleOf(greatest: number, top: number): number {
  const scale = Math.fround(greatest / top);
  return scale < leastScale ? 0 : scale;
}

function eachBlock({ scales }: Row, numbers: number, use: (block: number, from: number, to: number) => void): void {
  for (let block = 0; block < scales.length; block++)
    use(block, block * blockNumbers, Math.min(numbers, (block + 1) * blockNumbers));
}

/** x − base in whole codes (x itself where base is null). */
export function roundDifference(row: Row, x: Float32Array, base: Float32Array | null, seed: number): void {
  const top = topOf(row);
  const codes = new Int16Array(blockNumbers);
  const difference = new Float64Array(blockNumbers);
  eachBlock(row, x.length, (block, from, to) => {
    let greatest = 0;
    for (let i = from; i < to; i++) {
      const d = base === null ? x[i]! : x[i]! - base[i]!;
      difference[i - from] = d;
      greatest = Math.max(greatest, Math.abs(d));
    }
    const scale = scaleOf(greatest, top);
    row.scales[block] = scale;
    for (let i = from; i < to; i++) {
      const code = scale === 0 ? 0 : Math.floor(difference[i - from]! / scale + draw(i, seed) / 2 ** 32);
      codes[i - from] = Math.max(-top, Math.min(top, code));
    }
    writeCodes(row, codes.subarray(0, to - from), from);
  });
}

/** What `roundDifference` wrote, added to `base`. */
export function readDifference(row: Row, base: Float32Array | null, out: Float32Array): void {
  const codes = new Int16Array(blockNumbers);
  eachBlock(row, out.length, (block, from, to) => {
    const scale = row.scales[block]!;
    readCodes(row, codes.subarray(0, to - from), from);
    for (let i = from; i < to; i++) {
      const code = codes[i - from]!;
      // Where nothing is added, no bit of the base changes: −0 + 0 is 0.
      const origin = base === null ? 0 : base[i]!;
      out[i] = code === 0 ? origin : origin + code * scale;
    }
  });
}

const topOf = ({ bits }: Row): number => 2 ** (bits - 1) - 1;

/** `from`: a multiple of the block. */
function writeCodes({ bits, codes }: Row, block: Int16Array, from: number): void {
  if (bits === 16) new Int16Array(codes.buffer, codes.byteOffset, codes.length / 2).set(block, from);
  else if (bits === 8) codes.set(block, from);
  else
    for (let i = 0; i < block.length; i += 2)
      codes[(from + i) >> 1] = (block[i]! & 0xf) | (((block[i + 1] ?? 0) & 0xf) << 4);
}

function readCodes({ bits, codes }: Row, block: Int16Array, from: number): void {
  if (bits === 16) block.set(new Int16Array(codes.buffer, codes.byteOffset + 2 * from, block.length));
  else if (bits === 8) block.set(new Int8Array(codes.buffer, codes.byteOffset + from, block.length));
  else for (let i = 0; i < block.length; i++) block[i] = ((codes[(from + i) >> 1]! >> (i & 1 ? 4 : 0)) << 28) >> 28;
}

interface Floats {
  readonly fractionBits: number;
  readonly isSigned: boolean;
  /** Greatest of a scale's. */
  readonly top: number;
  /** By code without sign. */
  readonly values: Float64Array;
}

function floatsOf(fractionBits: number, isSigned: boolean): Floats {
  const one = 1 << fractionBits;
  const values = Float64Array.from({ length: 16 << fractionBits }, (_, code) =>
    code === 0 ? 0 : (1 + (code % one) / one) * 2 ** ((code >> fractionBits) - 15),
  );
  return { fractionBits, isSigned, top: values.at(-1)!, values };
}

const signed = floatsOf(3, true);
const unsigned = floatsOf(4, false);

const word = new Float32Array(1);
const bitsOfWord = new Uint32Array(word.buffer);

/** The code of a magnitude that a scale leaves; the float32's exponent counts from 127, ours from 15. */
function codeOf({ fractionBits, values }: Floats, magnitude: number, drawn: number): number {
  word[0] = magnitude;
  const dropped = 23 - fractionBits;
  const code = ((bitsOfWord[0]! + (drawn >>> (32 - dropped))) >>> dropped) - (112 << fractionBits);
  return Math.max(0, Math.min(values.length - 1, code));
}

export function roundMoments(row: Row, x: Float32Array, seed: number): void {
  eachBlock(row, x.length, (block, from, to) => {
    let greatest = 0;
    for (let i = from; i < to; i++) greatest = Math.max(greatest, Math.abs(x[i]!));
    const scale = scaleOf(greatest, signed.top);
    row.scales[block] = scale;
    for (let i = from; i < to; i++) {
      const code = scale === 0 ? 0 : codeOf(signed, Math.abs(x[i]!) / scale, draw(i, seed));
      row.codes[i] = code === 0 || x[i]! > 0 ? code : code | 0x80;
    }
  });
}

export function readMoments(row: Row, out: Float32Array): void {
  eachBlock(row, out.length, (block, from, to) => {
    const scale = row.scales[block]!;
    for (let i = from; i < to; i++) {
      const code = row.codes[i]!;
      const value = signed.values[code & 0x7f]! * scale;
      out[i] = code > 0x7f ? -value : value;
    }
  });
}

/** Of numbers that are not negative, by their roots. Never 0 where the number is not: a step divides by them. */
export function roundSecondMoments(row: Row, x: Float32Array, seed: number): void {
  eachBlock(row, x.length, (block, from, to) => {
    let greatest = 0;
    for (let i = from; i < to; i++) greatest = Math.max(greatest, x[i]!);
    const scale = scaleOf(Math.sqrt(greatest), unsigned.top);
    row.scales[block] = scale;
    for (let i = from; i < to; i++)
      row.codes[i] =
        scale === 0 || x[i] === 0 ? 0 : Math.max(1, codeOf(unsigned, Math.sqrt(x[i]!) / scale, draw(i, seed)));
  });
}

export function readSecondMoments(row: Row, out: Float32Array): void {
  eachBlock(row, out.length, (block, from, to) => {
    const scale = row.scales[block]!;
    for (let i = from; i < to; i++) {
      const root = unsigned.values[row.codes[i]!]! * scale;
      out[i] = root * root;
    }
  });
}
