/**
 * @file The ggml tensor types that are written: their number in a file, their block, and how float32 becomes their bytes.
 * A further type (Q8_0, Q4_K, ..) is a further entry.
 */
import { f32ToF16 } from '../../tensor/half.ts';
import { ExportError } from '../errors.ts';

export const ggufTypeNames = ['F32', 'F16'] as const;
export type GgufTypeName = (typeof ggufTypeNames)[number];

export interface GgufTensorType {
  /** ggml_type. */
  readonly id: number;
  /** `general.file_type` (llama_ftype) of a file whose matrices have this type. */
  readonly fileType: number;
  /** Consecutive elements of a row that are stored together; divides the length of a row. */
  readonly blockElements: number;
  readonly blockBytes: number;
  /** Whole blocks, little-endian. @throws ExportError UNREPRESENTABLE for a value outside the type's range */
  encode(values: Float32Array): Uint8Array;
}

export const ggufTypes: { readonly [N in GgufTypeName]: GgufTensorType } = {
  F32: { id: 0, fileType: 0, blockElements: 1, blockBytes: 4, encode: bytesOf },
  F16: {
    ...{ id: 1, fileType: 1, blockElements: 1, blockBytes: 2 },
    encode(values) {
      const at = values.findIndex((value) => !(Math.abs(value) < 65520));
      if (at >= 0) throw new ExportError('UNREPRESENTABLE', `${values[at]} is no float16; export F32 instead`);
      return bytesOf(f32ToF16(values));
    },
  },
};

/** A view; typed arrays are little-endian on every machine that Node runs on. */
function bytesOf(values: Float32Array | Uint16Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
