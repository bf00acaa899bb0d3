/**
 * @file What a codec is: how the float32 numbers of one tensor slice become the tensors of a safetensors file and come
 * back. Codecs are lossy at most per block of 256 elements (topk: 4,096) of a slice in row-major order; what is lost is
 * returned as the residue; `errorFeedback` says what the learner does with it.
 */
import type { SafetensorsDtype } from '../../tensor/safetensors.ts';
import { CodecError } from '../errors.ts';
import { sliceName, type TensorSlice } from '../fragment-plan.ts';
import type { Staging } from '../staging.ts';

export type CodecName = 'f32' | 'bf16' | 'int8' | 'int4' | 'topk';

/** One tensor of the file. */
export interface PartInfo {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  readonly sizeBytes: number;
}

export interface Codec {
  readonly name: CodecName;
  /** Elements that are encoded together: a slice may be decoded from any multiple of it on. */
  readonly blockElements: number;
  /** Bytes of each part that the first `elements` of a slice take: a multiple of the block, or the whole slice. */
  bytesOf(elements: number): readonly number[];
  /** The file's tensors for one slice, in the order in which `encode` and `decode` take their bytes. */
  parts(slice: TensorSlice): readonly PartInfo[];
  /** Writes `parts` (sized as `parts()` says) and residue = x − decode(encode(x)). x is finite and below 2^126. */
  encode(staging: Staging, x: Float32Array, parts: readonly Uint8Array[], residue: Float32Array): void;
  /** Writes `out`: a slice, or a part of it that begins at a block, with its part of the bytes. @throws CodecError NOT_FINITE, BAD_SCALE, NOT_CANONICAL */
  decode(staging: Staging, parts: readonly Uint8Array[], out: Float32Array, what: string): void;
}

export interface ErrorFeedback {
  /** κ: so much of what was not sent stays in the learner's parameters; the rest waits in its error buffer. */
  readonly kept: number;
  /** β: so much of the buffer goes into the fragment's next pseudo-gradient (arXiv:2508.15706). */
  readonly decay: number;
}

/**
 * A dense codec loses a little of each number, and gives all of it back with the next claim. Of what `topk` leaves out, nearly all, a
 * half is computed with until it is sent; the other half would be stale by then but for β (docs/decisions/0034).
 */
export const errorFeedback: Readonly<Record<CodecName, ErrorFeedback>> = {
  f32: { kept: 0, decay: 1 },
  bf16: { kept: 0, decay: 1 },
  int8: { kept: 0, decay: 1 },
  int4: { kept: 0, decay: 1 },
  topk: { kept: 0.5, decay: 0.95 },
};

/** Elements staged at a time; a multiple of the codecs' block. */
export const stagedElements = 65_536;

/** Magnitudes of 2^126 and more are not encoded: scaled codes could not be told from overflow. */
export const encodeLimitBits = 0x7e800000;
const infinityBits = 0x7f800000;

/** Calls `use(from, to)` for consecutive blocks of [0, length). */
export function forBlocks(length: number, use: (from: number, to: number) => void): void {
  for (let from = 0; from < length; from += stagedElements) use(from, Math.min(length, from + stagedElements));
}

/** True if every number is below the limit in magnitude and not NaN. */
export function isBelow(staging: Staging, x: Float32Array, limitBits: number = infinityBits): boolean {
  const { block } = staging.layOut({ block: 4 * stagedElements });
  const view = staging.memory.f32(block);
  for (let from = 0; from < x.length; from += stagedElements) {
    const part = x.subarray(from, from + stagedElements);
    view.set(part);
    if (staging.kernels.nonFinite(block.byteOffset, part.length, limitBits) !== 0) return false;
  }
  return true;
}

export function requireFinite(staging: Staging, x: Float32Array, what: string): void {
  if (!isBelow(staging, x)) throw new CodecError('NOT_FINITE', `${what}: NaN or infinity among the values`);
}

export function part(name: string, dtype: SafetensorsDtype, shape: readonly number[], sizeBytes: number): PartInfo {
  return { name, dtype, shape, sizeBytes };
}

/** A codec that writes one number for one number under the slice's own name and shape. */
export function plainPart(slice: TensorSlice, dtype: SafetensorsDtype, bytesEach: number): readonly PartInfo[] {
  return [part(sliceName(slice), dtype, slice.shape, slice.length * bytesEach)];
}
