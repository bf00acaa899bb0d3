/** @file `bf16`: the upper half of each float32, rounded to nearest, ties to even: |x − decoded| <= 2^-8·|x|. */
import { type Codec, forBlocks, plainPart, requireFinite, stagedElements } from './codec.ts';

const layout = { values: 4 * stagedElements, codes: 2 * stagedElements, residue: 4 * stagedElements };

export const bf16Codec: Codec = {
  name: 'bf16',
  blockElements: 1,
  bytesOf: (elements) => [2 * elements],
  parts: (slice) => plainPart(slice, 'BF16', 2),
  encode(staging, x, [bytes], residue) {
    const { values, codes, residue: rest } = staging.layOut(layout);
    const { memory } = staging;
    forBlocks(x.length, (from, to) => {
      memory.f32(values).set(x.subarray(from, to));
      memory.kernels.bf16Encode(values.byteOffset, codes.byteOffset, rest.byteOffset, to - from);
      bytes!.set(memory.u8(codes).subarray(0, 2 * (to - from)), 2 * from);
      residue.set(memory.f32(rest).subarray(0, to - from), from);
    });
  },
  decode(staging, [bytes], out, what) {
    const { values, codes } = staging.layOut(layout);
    const { memory } = staging;
    forBlocks(out.length, (from, to) => {
      memory.u8(codes).set(bytes!.subarray(2 * from, 2 * to));
      memory.kernels.bf16Decode(codes.byteOffset, values.byteOffset, to - from);
      out.set(memory.f32(values).subarray(0, to - from), from);
    });
    requireFinite(staging, out, what);
  },
};
