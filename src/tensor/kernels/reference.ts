/**
 * @file What the WASM kernels compute, written plainly; the kernels are tested against this bit for bit. `Math.fround`
 * after each +, −, ×, ÷ and square root of float32 values gives the float32 result exactly, since float64 has more than
 * twice the digits. Slow; nothing but tests calls it.
 */

const f = Math.fround;

/** Elements per block of the int8 and int4 codecs. */
export const intBlock = 256;

export interface AdamWConstants {
  readonly scale: number;
  readonly b1: number;
  readonly c1: number;
  readonly b2: number;
  readonly c2: number;
  readonly keep: number;
  readonly step: number;
  readonly inv2: number;
  readonly eps: number;
}

export function adamw(
  param: Float32Array,
  grad: Float32Array,
  m: Float32Array,
  v: Float32Array,
  constants: AdamWConstants,
): void {
  const [scale, b1, c1, b2, c2, keep, step, inv2, eps] = (
    ['scale', 'b1', 'c1', 'b2', 'c2', 'keep', 'step', 'inv2', 'eps'] as const
  ).map((name) => f(constants[name])) as [number, number, number, number, number, number, number, number, number];
  for (let i = 0; i < param.length; i++) {
    const g = f(grad[i]! * scale);
    m[i] = f(f(b1 * m[i]!) + f(c1 * g));
    v[i] = f(f(b2 * v[i]!) + f(f(c2 * g) * g));
    const root = f(f(Math.sqrt(f(v[i]! * inv2))) + eps);
    param[i] = f(f(param[i]! * keep) - f(step * f(m[i]! / root)));
  }
}

export function axpy(a: number, x: Float32Array, y: Float32Array): void {
  for (let i = 0; i < y.length; i++) y[i] = f(y[i]! + f(f(a) * x[i]!));
}

export function scale(a: number, y: Float32Array): void {
  for (let i = 0; i < y.length; i++) y[i] = f(f(a) * y[i]!);
}

export function difference(a: Float32Array, b: Float32Array, c: Float32Array, out: Float32Array): void {
  for (let i = 0; i < out.length; i++) out[i] = f(f(a[i]! - b[i]!) + c[i]!);
}

export function nonFinite(x: Float32Array, limitBits: number): number {
  const bits = new Uint32Array(x.buffer, x.byteOffset, x.length);
  return bits.some((word) => (word & 0x7fffffff) >= limitBits) ? 1 : 0;
}

export function sumSquares(x: Float32Array, lanes: Float64Array): void {
  for (let i = 0; i < x.length; i++) lanes[i & 15]! += x[i]! * x[i]!;
}

/** Learners in table order with their weights. */
export type Weighted = readonly { readonly x: Float32Array; readonly weight: number }[];

function weightedSum(learners: Weighted, i: number): number {
  let sum = 0;
  for (const { x, weight } of learners) sum += weight * x[i]!;
  return sum;
}

export function weightedSumSquares(learners: Weighted, n: number, lanes: Float64Array): void {
  for (let i = 0; i < n; i++) lanes[i & 15]! += weightedSum(learners, i) ** 2;
}

export function weightedMean(learners: Weighted, out: Float32Array): void {
  for (let i = 0; i < out.length; i++) out[i] = weightedSum(learners, i);
}

export function weightedNesterov(
  learners: Weighted,
  theta: Float32Array,
  momentum: Float32Array,
  rate: number,
  mu: number,
): void {
  for (let i = 0; i < theta.length; i++) {
    const delta = f(weightedSum(learners, i));
    momentum[i] = mu * momentum[i]! + delta;
    theta[i] = theta[i]! - rate * (delta + mu * momentum[i]!);
  }
}

export function weightedShift(learners: Weighted, theta: Float32Array): void {
  for (let i = 0; i < theta.length; i++) theta[i] = theta[i]! - weightedSum(learners, i);
}

export function bf16Encode(x: Float32Array, out: Uint16Array, residue: Float32Array): void {
  const word = new Uint32Array(1);
  const float = new Float32Array(word.buffer);
  for (let i = 0; i < x.length; i++) {
    float[0] = x[i]!;
    const sign = word[0]! & 0x80000000;
    const magnitude = Math.min(word[0]! & 0x7fffffff, 0x7f7f7fff);
    word[0] = sign | ((magnitude + 0x7fff + ((magnitude >>> 16) & 1)) & 0xffff0000);
    out[i] = word[0]! >>> 16;
    residue[i] = x[i]! - float[0]!;
  }
}

export function bf16Decode(source: Uint16Array, out: Float32Array): void {
  const words = new Uint32Array(out.buffer, out.byteOffset, out.length);
  for (let i = 0; i < source.length; i++) words[i] = source[i]! << 16;
}

/** To nearest, ties to even, for magnitudes below 2^22 (in float32: adding and taking off 1.5·2^23). */
const nearestEven = (x: number): number => f(f(x + 12582912) - 12582912);

function blockScale(x: Float32Array, start: number, end: number, levels: number): number {
  let amax = 0;
  for (let i = start; i < end; i++) amax = Math.max(amax, Math.abs(x[i]!));
  return amax < f(levels * 2 ** -126) ? 0 : f(amax / levels);
}

/** q and scales for `levels` = 127 (int8) or 7 (int4, one value a byte here); residue = x − q·scale. */
export function quantise(
  x: Float32Array,
  levels: number,
  q: Int8Array,
  scales: Float32Array,
  residue: Float32Array,
): void {
  for (let start = 0; start < x.length; start += intBlock) {
    const end = Math.min(x.length, start + intBlock);
    const scale = blockScale(x, start, end, levels);
    scales[start / intBlock] = scale;
    for (let i = start; i < end; i++) {
      q[i] = scale === 0 ? 0 : Math.max(-levels, Math.min(levels, nearestEven(f(x[i]! / scale))));
      residue[i] = scale === 0 ? x[i]! : f(x[i]! - f(q[i]! * scale));
    }
  }
}

export function dequantise(q: Int8Array, scales: Float32Array, out: Float32Array): void {
  for (let i = 0; i < out.length; i++) out[i] = q[i]! * scales[Math.floor(i / intBlock)]!;
}

/** Two values a byte, the even element in the low half. */
export function packNibbles(q: Int8Array): Uint8Array {
  const out = new Uint8Array(Math.ceil(q.length / 2));
  q.forEach((value, i) => {
    out[i >> 1]! |= (value & 15) << (i & 1 ? 4 : 0);
  });
  return out;
}
