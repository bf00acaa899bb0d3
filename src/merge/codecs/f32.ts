/** @file `f32`: the numbers themselves, little endian. Absolute fragment states travel in it. */
import { type Codec, plainPart, requireFinite } from './codec.ts';

export const f32BytesOf = (x: Float32Array): Uint8Array => new Uint8Array(x.buffer, x.byteOffset, x.byteLength);

export const f32Codec: Codec = {
  name: 'f32',
  blockElements: 1,
  bytesOf: (elements) => [4 * elements],
  parts: (slice) => plainPart(slice, 'F32', 4),
  encode(_staging, x, [bytes], residue) {
    bytes!.set(f32BytesOf(x));
    residue.fill(0);
  },
  decode(staging, [bytes], out, what) {
    f32BytesOf(out).set(bytes!);
    requireFinite(staging, out, what);
  },
};
