/**
 * @file What the WASM kernels compute, written plainly; the kernels are tested against this bit for bit. `Math.fround`
 * after each +, −, ×, ÷ and square root of float32 values gives the float32 result exactly, since float64 has more than
 * twice the digits. Slow; nothing but tests calls it.
 */
import { halfBits, halfValue } from '../half.ts';

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

/** Elements per chunk of the topk codec, and of how many one is kept. */
export const topkChunk = 4096;
const topkShare = 64;

/** Bytes of a record of `count` elements. */
export function topkRecordBytes(count: number): number {
  const k = Math.ceil(count / topkShare);
  return 2 + Math.ceil(k / 4) + Math.ceil((3 * k) / 2);
}

/** Records one after another; residue = x − decoded. The layout of a record: assembly/topk.ts. */
export function topkEncode(x: Float32Array, residue: Float32Array): Uint8Array {
  const records: number[] = [];
  residue.set(x);
  for (let start = 0; start < x.length; start += topkChunk) {
    const chunk = x.subarray(start, start + topkChunk);
    const kept = greatestOf(chunk, Math.ceil(chunk.length / topkShare));
    const half = topkScale(kept.map((i) => Math.abs(chunk[i]!)));
    const s = halfValue(half);
    const indices = half === 0 ? kept.map((_, i) => i) : kept;
    const codes = indices.map((i) => {
      if (half === 0) return 0;
      const isHigh = Math.abs(chunk[i]!) > f(1.5 * s);
      const isNegative = chunk[i]! < 0 || Object.is(chunk[i]!, -0);
      residue[start + i] = f(chunk[i]! - (isNegative ? -1 : 1) * (isHigh ? 2 * s : s));
      return (isHigh ? 1 : 0) | (isNegative ? 2 : 0);
    });
    records.push(half & 255, half >> 8, ...packBits(codes, 2), ...packBits(indices, 12));
  }
  return Uint8Array.from(records);
}

/** Canonical records only. */
export function topkDecode(records: Uint8Array, out: Float32Array): void {
  out.fill(0);
  let at = 0;
  for (let start = 0; start < out.length; start += topkChunk) {
    const count = Math.min(topkChunk, out.length - start);
    const k = Math.ceil(count / topkShare);
    const record = records.subarray(at, at + topkRecordBytes(count));
    const scale = halfValue(record[0]! | (record[1]! << 8));
    const codes = unpackBits(record.subarray(2), 2, k);
    const indices = unpackBits(record.subarray(2 + Math.ceil(k / 4)), 12, k);
    indices.forEach((index, i) => {
      out[start + index] = (codes[i]! & 2 ? -1 : 1) * (codes[i]! & 1 ? 2 : 1) * scale;
    });
    at += record.length;
  }
}

/** Indices of the k greatest magnitudes, ascending; of equal ones the first. */
function greatestOf(x: Float32Array, k: number): number[] {
  const order = Array.from(x, (_, i) => i).sort((a, b) => Math.abs(x[b]!) - Math.abs(x[a]!) || a - b);
  return order.slice(0, k).sort((a, b) => a - b);
}

function topkScale(magnitudes: readonly number[]): number {
  const k = magnitudes.length;
  const scaleAt = (split: number): number => {
    let [low, high, highs] = [0, 0, 0];
    for (const magnitude of magnitudes) {
      if (magnitude > split) high += magnitude;
      else low += magnitude;
      if (magnitude > split) highs++;
    }
    return (low + 2 * high) / (k + 3 * highs);
  };
  const sum = magnitudes.reduce((total, magnitude) => total + magnitude, 0);
  const scale = f(scaleAt(1.5 * scaleAt((1.2 * sum) / k)));
  return scale >= 65504 ? 0x7bff : halfBits(scale);
}

function packBits(values: readonly number[], bits: number): Uint8Array {
  const out = new Uint8Array(Math.ceil((values.length * bits) / 8));
  values.forEach((value, i) => {
    for (let bit = 0; bit < bits; bit++) out[(i * bits + bit) >> 3]! |= ((value >> bit) & 1) << ((i * bits + bit) & 7);
  });
  return out;
}

function unpackBits(bytes: Uint8Array, bits: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => {
    let value = 0;
    for (let bit = 0; bit < bits; bit++)
      value |= ((bytes[(i * bits + bit) >> 3]! >> ((i * bits + bit) & 7)) & 1) << bit;
    return value;
  });
}
