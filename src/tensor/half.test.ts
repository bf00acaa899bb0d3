/** @file bfloat16 rounding against words worked out from the definition: ties, carries, subnormals, infinity, NaN. */
import { describe, expect, it } from 'vitest';
import { bf16ToF32, f32ToBf16 } from './half.ts';

const encode = (word: number): number => f32ToBf16(new Float32Array(Uint32Array.of(word).buffer))[0]!;

describe('f32ToBf16', () => {
  it('rounds to nearest, ties to even', () => {
    const vectors: [what: string, float32: number, bfloat16: number][] = [
      ['zero', 0x00000000, 0x0000],
      ['minus zero', 0x80000000, 0x8000],
      ['one', 0x3f800000, 0x3f80],
      ['tie above an even word falls', 0x3f808000, 0x3f80],
      ['just above that tie rises', 0x3f808001, 0x3f81],
      ['tie above an odd word rises', 0x3f818000, 0x3f82],
      ['just below that tie falls', 0x3f817fff, 0x3f81],
      ['negative tie to even', 0xbf818000, 0xbf82],
      ['a carry into the exponent', 0x3fffffff, 0x4000],
      ['the greatest float32 overflows', 0x7f7fffff, 0x7f80],
      ['the greatest that does not', 0x7f7f7fff, 0x7f7f],
      ['infinity', 0x7f800000, 0x7f80],
      ['minus infinity', 0xff800000, 0xff80],
      ['the least subnormal falls to zero', 0x00000001, 0x0000],
      ['half the least bfloat16 falls to zero', 0x00008000, 0x0000],
      ['just above it rises', 0x00008001, 0x0001],
      ['a subnormal tie rises to even', 0x00018000, 0x0002],
      ['the greatest subnormal becomes normal', 0x007fffff, 0x0080],
    ];
    for (const [what, word, expected] of vectors) expect(encode(word), what).toBe(expected);
  });

  it('keeps every NaN one, also those whose bits lie below', () => {
    for (const word of [0x7f800001, 0x7fc00000, 0x7fffffff, 0xff800001, 0xffffffff]) {
      const out = encode(word);
      expect(bf16ToF32(Uint16Array.of(out))[0], word.toString(16)).toBeNaN();
      expect(out >>> 15).toBe(word >>> 31);
    }
  });

  it('gives back every word that is no signalling NaN', () => {
    const words = Uint16Array.from({ length: 65_536 }, (_, i) => i).filter(
      (word) => (word & 0x7f80) !== 0x7f80 || (word & 0x7f) === 0 || (word & 0x40) !== 0,
    );
    const floats = bf16ToF32(words);
    expect(f32ToBf16(floats)).toEqual(words);
  });
});
