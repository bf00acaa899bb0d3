/** @file Rounding to bfloat16 and to halves against words worked out from the definition: ties, carries, subnormals, infinity, NaN. */
import { describe, expect, it } from 'vitest';
import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from './half.ts';

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

describe('f32ToF16', () => {
  it('rounds to nearest, ties to even', () => {
    const vectors: [what: string, float32: number, half: number][] = [
      ['minus zero', -0, 0x8000],
      ['one', 1, 0x3c00],
      ['minus two', -2, 0xc000],
      ['tie above an even word falls', 1 + 2 ** -11, 0x3c00],
      ['just above that tie rises', 1 + 2 ** -11 + 2 ** -23, 0x3c01],
      ['tie above an odd word rises', 1 + 3 * 2 ** -11, 0x3c02],
      ['a carry into the exponent', 2 - 2 ** -12, 0x4000],
      ['the greatest half', 65504, 0x7bff],
      ['just below the tie beyond it', 65519.99609375, 0x7bff],
      ['the tie beyond it', 65520, 0x7c00],
      ['infinity', -Infinity, 0xfc00],
      ['the least normal half', 2 ** -14, 0x0400],
      ['the greatest subnormal', 2 ** -14 - 2 ** -24, 0x03ff],
      ['a subnormal tie rises to even', 3 * 2 ** -25, 0x0002],
      ['a subnormal that becomes normal', 2 ** -14 - 2 ** -26, 0x0400],
      ['the least subnormal', 2 ** -24, 0x0001],
      ['half of it falls to zero', 2 ** -25, 0x0000],
      ['just above that rises', 2 ** -25 + 2 ** -48, 0x0001],
      ['the least float32', 2 ** -149, 0x0000],
    ];
    for (const [what, value, expected] of vectors) expect(f32ToF16(Float32Array.of(value))[0], what).toBe(expected);
    expect(f16ToF32(f32ToF16(Float32Array.of(NaN)))[0]).toBeNaN();
  });

  it('gives back every word but NaNs', () => {
    const words = Uint16Array.from({ length: 65_536 }, (_, i) => i).filter((word) => (word & 0x7fff) <= 0x7c00);
    expect(f32ToF16(f16ToF32(words))).toEqual(words);
  });
});
