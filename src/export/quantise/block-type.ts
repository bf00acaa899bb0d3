/**
 * @file What a quantiser of ggml's block formats is: consecutive elements of a row stored together, all little-endian. The
 * quantisers here are pure; each rounds as ggml's reference does, or (K-quants) searches for a smaller error by itself.
 */
import { halfBits, halfValue } from '../../tensor/half.ts';

export interface BlockType {
  /** Divides the length of a row. */
  readonly blockElements: number;
  readonly blockBytes: number;
  /** Whole blocks. */
  encode(values: Float32Array): Uint8Array;
  /** What a reader computes of `encode`'s bytes. */
  decode(bytes: Uint8Array): Float32Array;
}

/** Writes `value` as a half at byte `at`, and gives what a reader gets. */
export function putHalf(out: Uint8Array, at: number, value: number): number {
  const word = halfBits(value);
  out[at] = word & 0xff;
  out[at + 1] = word >>> 8;
  return halfValue(word);
}

export function readHalf(bytes: Uint8Array, at: number): number {
  return halfValue(bytes[at]! | (bytes[at + 1]! << 8));
}

/** A type of which each block is made by itself. */
export function blockType(
  size: { readonly elements: number; readonly bytes: number },
  encodeBlock: (values: Float32Array, from: number, out: Uint8Array, at: number) => void,
  decodeBlock: (bytes: Uint8Array, at: number, out: Float32Array, to: number) => void,
): BlockType {
  return {
    blockElements: size.elements,
    blockBytes: size.bytes,
    encode(values) {
      const blocks = values.length / size.elements;
      const out = new Uint8Array(blocks * size.bytes);
      for (let b = 0; b < blocks; b++) encodeBlock(values, b * size.elements, out, b * size.bytes);
      return out;
    },
    decode(bytes) {
      const blocks = bytes.length / size.bytes;
      const out = new Float32Array(blocks * size.elements);
      for (let b = 0; b < blocks; b++) decodeBlock(bytes, b * size.bytes, out, b * size.elements);
      return out;
    },
  };
}
