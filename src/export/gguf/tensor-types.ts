/**
 * @file The ggml tensor types that are written and read: their number in a file, their block, and how float32 becomes
 * their bytes and comes back. A further type is a further entry.
 */
import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from '../../tensor/half.ts';
import { ExportError } from '../errors.ts';
import type { BlockType } from '../quantise/block-type.ts';
import { mxfp4, q4_0, q8_0 } from '../quantise/blocks-of-32.ts';
import { q4_K, q5_K, q6_K } from '../quantise/blocks-of-256.ts';

export const ggufTypeNames = ['F32', 'F16', 'BF16', 'Q8_0', 'Q4_0', 'MXFP4', 'Q4_K', 'Q5_K', 'Q6_K'] as const;
export type GgufTypeName = (typeof ggufTypeNames)[number];

/** `encode` throws ExportError UNREPRESENTABLE for a value outside the type's range. */
export interface GgufTensorType extends BlockType {
  /** ggml_type. */
  readonly id: number;
}

export const ggufTypes: { readonly [N in GgufTypeName]: GgufTensorType } = {
  F32: {
    ...{ id: 0, blockElements: 1, blockBytes: 4, encode: bytesOf },
    decode: (bytes) => new Float32Array(aligned(bytes)),
  },
  F16: {
    ...{ id: 1, blockElements: 1, blockBytes: 2 },
    encode(values) {
      const at = values.findIndex((value) => !(Math.abs(value) < 65520));
      if (at >= 0) throw new ExportError('UNREPRESENTABLE', `${values[at]} is no float16; export F32 instead`);
      return bytesOf(f32ToF16(values));
    },
    decode: (bytes) => f16ToF32(new Uint16Array(aligned(bytes))),
  },
  BF16: {
    ...{ id: 30, blockElements: 1, blockBytes: 2 },
    encode: (values) => bytesOf(f32ToBf16(values)),
    decode: (bytes) => bf16ToF32(new Uint16Array(aligned(bytes))),
  },
  Q8_0: scaled(8, q8_0, 127),
  Q4_0: scaled(2, q4_0, 8),
  MXFP4: { id: 39, ...mxfp4 },
  Q4_K: scaled(12, q4_K, 15),
  Q5_K: scaled(13, q5_K, 31),
  Q6_K: scaled(14, q6_K, 32),
};

/** A type whose scales are halves: `steps` of the largest one reach the largest value. */
function scaled(id: number, type: BlockType, steps: number): GgufTensorType {
  return {
    id,
    ...type,
    encode(values) {
      const at = values.findIndex((value) => !(Math.abs(value) < 65504 * steps));
      if (at >= 0)
        throw new ExportError('UNREPRESENTABLE', `${values[at]} is beyond this type's scales; export F32 instead`);
      return type.encode(values);
    },
  };
}

/** A view; typed arrays are little-endian on every machine that Node runs on. */
function bytesOf(values: Float32Array | Uint16Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

const aligned = (bytes: Uint8Array): ArrayBuffer => bytes.slice().buffer as ArrayBuffer;
