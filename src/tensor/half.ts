/** @file Sixteen-bit floats to and from float32: bfloat16 and IEEE half, both rounded to nearest even. */

/** Reads bfloat16 words: the upper half of a float32. */
export function bf16ToF32(words: Uint16Array): Float32Array {
  const bits = new Uint32Array(words.length);
  for (let i = 0; i < words.length; i++) bits[i] = words[i]! << 16;
  return new Float32Array(bits.buffer);
}

/** Rounds to nearest, ties to even; NaN stays NaN, overflow becomes infinity. */
export function f32ToBf16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) {
    const word = bits[i]!;
    const isNan = (word & 0x7f800000) === 0x7f800000 && (word & 0x007fffff) !== 0;
    out[i] = isNan ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
  return out;
}

/** Reads IEEE 754 binary16 words, subnormals included. */
export function f16ToF32(words: Uint16Array): Float32Array {
  const out = new Float32Array(words.length);
  for (let i = 0; i < words.length; i++) out[i] = halfValue(words[i]!);
  return out;
}

/** The number that a binary16 word stands for. */
export function halfValue(word: number): number {
  const sign = word & 0x8000 ? -1 : 1;
  const exponent = (word >>> 10) & 0x1f;
  const fraction = word & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Rounds to IEEE 754 binary16: to nearest, ties to even, subnormals included; overflow becomes infinity, NaN stays NaN. */
export function f32ToF16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) out[i] = halfWord(bits[i]!);
  return out;
}

const single = new Float32Array(1);
const singleBits = new Uint32Array(single.buffer);

/** The binary16 word of one number, rounded to float32 first. */
export function halfBits(value: number): number {
  single[0] = value;
  return halfWord(singleBits[0]!);
}

const halfWord = (bits: number): number => ((bits >>> 16) & 0x8000) | halfOf(bits & 0x7fffffff);

/** The half nearest to a float32 ≥ 0, both as bits. */
function halfOf(word: number): number {
  if (word > 0x7f800000) return 0x7e00; // NaN
  if (word >= 0x477ff000) return 0x7c00; // 65520 and more round beyond the largest half
  if (word < 0x33000000) return 0; // below 2^-25
  const exponent = word >>> 23;
  // Subnormal halves: the implicit one is written out, and more bits fall off.
  const isSubnormal = exponent < 113;
  const fraction = isSubnormal ? (word & 0x7fffff) | 0x800000 : word - 0x38000000;
  const dropped = isSubnormal ? 126 - exponent : 13;
  const kept = fraction >>> dropped;
  const tail = fraction & ((1 << dropped) - 1);
  const half = 1 << (dropped - 1);
  // A carry out of the fraction goes on into the exponent, as it should.
  return tail > half || (tail === half && (kept & 1) === 1) ? kept + 1 : kept;
}
