/**
 * @file `topk`: of each chunk of 4,096 numbers of a slice the 64 of greatest magnitude, with 2-bit codes, 12-bit indices and
 * one half-precision scale: 114 bytes, 144 times fewer than float32 (SparseLoCo, arXiv:2508.15706). A last chunk of n numbers
 * keeps ceil(n / 64). The record's bits: tensor/kernels/assembly/topk.ts and docs/protocol.md. What is not sent is the residue.
 */
import { CodecError } from '../errors.ts';
import { sliceName } from '../fragment-plan.ts';
import { type Codec, forBlocks, part, stagedElements } from './codec.ts';

export const topkChunk = 4096;
const keptShare = 64;
/** Room for the candidates of one chunk and their places. */
const scratchBytes = 33_280;

function recordBytes(elements: number): number {
  const k = Math.ceil(elements / keptShare);
  return 2 + Math.ceil(k / 4) + Math.ceil((3 * k) / 2);
}

/** All records of a slice, or of a part of it that begins at a chunk. */
export function topkBytes(elements: number): number {
  const rest = elements % topkChunk;
  return Math.floor(elements / topkChunk) * recordBytes(topkChunk) + (rest === 0 ? 0 : recordBytes(rest));
}

const layout = {
  values: 4 * stagedElements,
  records: topkBytes(stagedElements),
  residue: 4 * stagedElements,
  scratch: scratchBytes,
};

export const topkCodec: Codec = {
  name: 'topk',
  blockElements: topkChunk,
  bytesOf: (elements) => [topkBytes(elements)],
  parts(slice) {
    const bytes = topkBytes(slice.length);
    return [part(sliceName(slice), 'U8', [bytes], bytes)];
  },
  encode(staging, x, [out], residue) {
    const { values, records, residue: rest, scratch } = staging.layOut(layout);
    const { memory } = staging;
    forBlocks(x.length, (from, to) => {
      const n = to - from;
      memory.f32(values).set(x.subarray(from, to));
      memory.kernels.topkEncode(values.byteOffset, records.byteOffset, rest.byteOffset, n, scratch.byteOffset);
      out!.set(memory.u8(records).subarray(0, topkBytes(n)), topkBytes(from));
      residue.set(memory.f32(rest).subarray(0, n), from);
    });
  },
  decode(staging, [bytes], out, what) {
    const { values, records } = staging.layOut(layout);
    const { memory } = staging;
    forBlocks(out.length, (from, to) => {
      const n = to - from;
      memory.u8(records).set(bytes!.subarray(topkBytes(from), topkBytes(from) + topkBytes(n)));
      const fault = memory.kernels.topkDecode(records.byteOffset, values.byteOffset, n);
      if (fault === 2) throw new CodecError('BAD_SCALE', `${what}: a scale that is negative, infinite or NaN`);
      if (fault !== 0)
        throw new CodecError(
          'NOT_CANONICAL',
          `${what}: indices out of order or beyond their chunk, or bits that no encoder writes`,
        );
      out.set(memory.f32(values).subarray(0, n), from);
    });
  },
};
