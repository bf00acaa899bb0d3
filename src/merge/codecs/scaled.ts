/**
 * @file `int8` and `int4`: integers in ±levels with one float32 scale per 256 elements of a slice (the last block may
 * be shorter). scale = f32(max|x| / levels), 0 where that would be subnormal; code = nearestEven(x / scale). So
 * |x − decoded| <= scale / 2 up to rounding. The scales are a tensor of their own: the slice's name and `.scale`.
 */
import { CodecError } from '../errors.ts';
import { sliceName } from '../fragment-plan.ts';
import { type Codec, type CodecName, forBlocks, part, stagedElements } from './codec.ts';

export const scaledBlock = 256;
const layout = {
  values: 4 * stagedElements,
  codes: stagedElements,
  scales: (4 * stagedElements) / scaledBlock,
  residue: 4 * stagedElements,
};
const leastNormal = 2 ** -126;
const decodeLimit = 2 ** 127;

interface Format {
  readonly name: CodecName;
  readonly levels: 127 | 7;
  readonly codesPerByte: 1 | 2;
}

const blockCount = (length: number): number => Math.ceil(length / scaledBlock);

function scaledCodec({ name, levels, codesPerByte }: Format): Codec {
  const codeBytes = (length: number): number => Math.ceil(length / codesPerByte);
  const functions = { int8: ['int8Encode', 'int8Decode'], int4: ['int4Encode', 'int4Decode'] } as const;
  const [encodeName, decodeName] = functions[name === 'int8' ? 'int8' : 'int4'];
  return {
    name,
    blockElements: scaledBlock,
    bytesOf: (elements) => [codeBytes(elements), 4 * blockCount(elements)],
    parts(slice) {
      const bytes = codeBytes(slice.length);
      return [
        codesPerByte === 1
          ? part(sliceName(slice), 'I8', slice.shape, bytes)
          : part(sliceName(slice), 'U8', [bytes], bytes),
        part(`${sliceName(slice)}.scale`, 'F32', [blockCount(slice.length)], 4 * blockCount(slice.length)),
      ];
    },
    encode(staging, x, [codeOut, scaleOut], residue) {
      const { values, codes, scales, residue: rest } = staging.layOut(layout);
      const { memory } = staging;
      const encode = memory.kernels[encodeName];
      forBlocks(x.length, (from, to) => {
        const n = to - from;
        memory.f32(values).set(x.subarray(from, to));
        encode(values.byteOffset, codes.byteOffset, scales.byteOffset, rest.byteOffset, n);
        codeOut!.set(memory.u8(codes).subarray(0, codeBytes(n)), from / codesPerByte);
        scaleOut!.set(memory.u8(scales).subarray(0, 4 * blockCount(n)), (4 * from) / scaledBlock);
        residue.set(memory.f32(rest).subarray(0, n), from);
      });
    },
    decode(staging, [codeBytesIn, scaleBytesIn], out, what) {
      const { values, codes, scales } = staging.layOut(layout);
      const { memory } = staging;
      const decode = memory.kernels[decodeName];
      forBlocks(out.length, (from, to) => {
        const n = to - from;
        const first = from / codesPerByte;
        memory.u8(codes).set(codeBytesIn!.subarray(first, first + codeBytes(n)));
        const firstScale = (4 * from) / scaledBlock;
        memory.u8(scales).set(scaleBytesIn!.subarray(firstScale, firstScale + 4 * blockCount(n)));
        checkScales(memory.f32(scales).subarray(0, blockCount(n)), levels, what);
        if (decode(codes.byteOffset, scales.byteOffset, values.byteOffset, n) !== 0)
          throw new CodecError('NOT_CANONICAL', `${what}: a code outside ±${levels} or a used padding half`);
        out.set(memory.f32(values).subarray(0, n), from);
      });
    },
  };
}

/** A scale is +0 or a normal positive number whose greatest code stays finite. */
function checkScales(scales: Float32Array, levels: number, what: string): void {
  for (const scale of scales) {
    const valid = Object.is(scale, 0) || (scale >= leastNormal && scale * levels < decodeLimit);
    if (!valid)
      throw new CodecError('BAD_SCALE', `${what}: scale ${scale} is not 0 and not in [2^-126, 2^127 / ${levels})`);
  }
}

export const int8Codec: Codec = scaledCodec({ name: 'int8', levels: 127, codesPerByte: 1 });
export const int4Codec: Codec = scaledCodec({ name: 'int4', levels: 7, codesPerByte: 2 });
