/**
 * @file The sparse codec `topk`: of each chunk of 4,096 numbers the 64 of greatest magnitude, as 12-bit indices with 2-bit
 * codes and one half-precision scale: 114 bytes. A last chunk of n < 4,096 numbers keeps ceil(n / 64) of them.
 *
 * A record: u16 scale s; ceil(k / 4) bytes of codes, the first in the low bits; ceil(3k / 2) bytes of ascending indices, two
 * in three bytes, the first in the low bits; unused bits are 0. Codes: 0: s, 1: 2s, 2: -s, 3: -2s. Equal magnitudes go by index.
 * A scale of 0 stands for zeros: codes 0, indices 0 .. k - 1.
 */

const CHUNK: u32 = 4096;
const KEPT_SHARE: u32 = 64;
const GREATEST_HALF: f32 = 65504;

/** Bits of the half nearest to a float32 >= 0, ties to even; the greatest half for what lies beyond. */
// @ts-ignore: decorator
@inline
function toHalf(value: f32): u32 {
  if (value >= GREATEST_HALF) return 0x7bff;
  const word = reinterpret<u32>(value);
  if (word < 0x33000000) return 0;
  const exponent = word >> 23;
  const isSubnormal = exponent < 113;
  const fraction = isSubnormal ? (word & 0x7fffff) | 0x800000 : word - 0x38000000;
  const dropped: u32 = isSubnormal ? 126 - exponent : 13;
  const kept = fraction >> dropped;
  const tail = fraction & ((1 << dropped) - 1);
  const half: u32 = 1 << (dropped - 1);
  return tail > half || (tail == half && (kept & 1) == 1) ? kept + 1 : kept;
}

/** Of a finite half >= 0. */
// @ts-ignore: decorator
@inline
function fromHalf(half: u32): f32 {
  if (half < 0x400) return <f32>half * 5.9604644775390625e-8; // 2^-24
  return reinterpret<f32>((half << 13) + 0x38000000);
}

// @ts-ignore: decorator
@inline
function magnitudes(at: usize): v128 {
  return v128.and(v128.load(at), i32x4.splat(0x7fffffff));
}

/**
 * A magnitude that at least 64 of 4,096 numbers reach: the least of the maxima of 64 groups (lane and vector modulo 16).
 * Of random numbers some 300 reach it.
 */
function groupBound(x: usize, maxima: usize): u32 {
  for (let group: u32 = 0; group < 16; group += 4) {
    let a = i32x4.splat(0);
    let b = a;
    let c = a;
    let d = a;
    const start = x + (<usize>group << 4);
    for (let at = start; at < start + 16384; at += 256) {
      a = i32x4.max_u(a, magnitudes(at));
      b = i32x4.max_u(b, magnitudes(at + 16));
      c = i32x4.max_u(c, magnitudes(at + 32));
      d = i32x4.max_u(d, magnitudes(at + 48));
    }
    v128.store(maxima + (<usize>group << 4), i32x4.min_u(i32x4.min_u(a, b), i32x4.min_u(c, d)));
  }
  const least = i32x4.min_u(
    i32x4.min_u(v128.load(maxima), v128.load(maxima + 64)),
    i32x4.min_u(v128.load(maxima + 128), v128.load(maxima + 192)),
  );
  return min<u32>(
    min<u32>(i32x4.extract_lane(least, 0), i32x4.extract_lane(least, 1)),
    min<u32>(i32x4.extract_lane(least, 2), i32x4.extract_lane(least, 3)),
  );
}

/** Magnitudes of at least `bound` and their indices, ascending, to `found` and `places` (u32 each). Returns how many. */
function gather(x: usize, n: u32, bound: u32, found: usize, places: usize): u32 {
  const wide = n & ~15;
  const least = i32x4.splat(<i32>bound);
  let count: usize = 0;
  let i: u32 = 0;
  for (; i < wide; i += 16) {
    const at = x + (<usize>i << 2);
    // Magnitudes are below 2^31, so signed comparison serves.
    const a = i32x4.ge_s(magnitudes(at), least);
    const b = i32x4.ge_s(magnitudes(at + 16), least);
    const c = i32x4.ge_s(magnitudes(at + 32), least);
    const d = i32x4.ge_s(magnitudes(at + 48), least);
    let mask = <u32>i8x16.bitmask(i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d)));
    while (mask != 0) {
      const index = i + ctz(mask);
      store<u32>(found + (count << 2), load<u32>(x + (<usize>index << 2)) & 0x7fffffff);
      store<u32>(places + (count << 2), index);
      count++;
      mask &= mask - 1;
    }
  }
  for (; i < n; i++) {
    const word = load<u32>(x + (<usize>i << 2)) & 0x7fffffff;
    if (word < bound) continue;
    store<u32>(found + (count << 2), word);
    store<u32>(places + (count << 2), i);
    count++;
  }
  return <u32>count;
}

/** How many of `count` numbers (padded with zeros to a multiple of four) reach `bound` > 0. */
function countReaching(found: usize, count: u32, bound: u32): u32 {
  const least = i32x4.splat(<i32>bound);
  const end = found + (<usize>count << 2);
  let sum = i32x4.splat(0);
  for (let at = found; at < end; at += 16) sum = i32x4.sub(sum, i32x4.ge_s(v128.load(at), least));
  return (
    i32x4.extract_lane(sum, 0) + i32x4.extract_lane(sum, 1) + i32x4.extract_lane(sum, 2) + i32x4.extract_lane(sum, 3)
  );
}

/** The greatest bound >= `low` that at least `k` of the numbers reach; k reach `low`. */
function kthGreatest(found: usize, count: u32, k: u32, low: u32): u32 {
  let reached = low;
  let missed: u32 = 0x7f800000;
  while (missed - reached > 1) {
    const middle = reached + ((missed - reached) >> 1);
    const reaching = countReaching(found, count, middle);
    if (reaching == k) return middle;
    if (reaching > k) reached = middle;
    else missed = middle;
  }
  return reached;
}

/** Leaves the k that are kept in `found` and `places`, by index: all above the bound, and of those at it the first. */
function keep(found: usize, places: usize, count: u32, k: u32, bound: u32): void {
  let above: u32 = 0;
  for (let i: u32 = 0; i < count; i++) above += <u32>(load<u32>(found + (<usize>i << 2)) > bound);
  const reaching = countReachingAny(found, count, bound);
  // If exactly k reach the bound, `bound` need not be one of them.
  let equal = reaching == k ? k : k - above;
  let kept: usize = 0;
  for (let i: u32 = 0; i < count; i++) {
    const word = load<u32>(found + (<usize>i << 2));
    if (word < bound) continue;
    if (word == bound) {
      if (equal == 0) continue;
      equal--;
    }
    store<u32>(found + (kept << 2), word);
    store<u32>(places + (kept << 2), load<u32>(places + (<usize>i << 2)));
    kept++;
  }
}

// @ts-ignore: decorator
@inline
function countReachingAny(found: usize, count: u32, bound: u32): u32 {
  let reaching: u32 = 0;
  for (let i: u32 = 0; i < count; i++) reaching += <u32>(load<u32>(found + (<usize>i << 2)) >= bound);
  return reaching;
}

/** Least squares of the scale when magnitudes above `split` are 2s and the others s; sums in float64, by index. */
// @ts-ignore: decorator
@inline
function fitScale(found: usize, k: u32, split: f64): f64 {
  let low: f64 = 0;
  let high: f64 = 0;
  let highs: u32 = 0;
  for (let i: u32 = 0; i < k; i++) {
    const magnitude = <f64>load<f32>(found + (<usize>i << 2));
    const isHigh = magnitude > split;
    low += isHigh ? 0 : magnitude;
    high += isHigh ? magnitude : 0;
    highs += <u32>isHigh;
  }
  return (low + 2 * high) / <f64>(k + 3 * highs);
}

/** Half bits of the scale: split at 1.2 means, then at 1.5 of the scale that follows, rounded to float32 and half. */
function scaleOf(found: usize, k: u32): u32 {
  let sum: f64 = 0;
  for (let i: u32 = 0; i < k; i++) sum += <f64>load<f32>(found + (<usize>i << 2));
  const first = fitScale(found, k, (1.2 * sum) / <f64>k);
  return toHalf(<f32>fitScale(found, k, 1.5 * first));
}

/** One record, its unused bits zero, and the residue of what is kept. `kept` holds the indices. */
function writeRecord(x: usize, out: usize, residue: usize, kept: usize, k: u32, half: u32): void {
  store<u16>(out, <u16>half);
  const codes = out + 2;
  const indices = codes + <usize>((k + 3) >> 2);
  const scale = fromHalf(half);
  const split: f32 = 1.5 * scale;
  memory.fill(codes, 0, <usize>((k + 3) >> 2) + <usize>((3 * k + 1) >> 1));
  for (let i: u32 = 0; i < k; i++) {
    const index = half == 0 ? i : load<u32>(kept + (<usize>i << 2));
    const byte = indices + <usize>((3 * i) >> 1);
    if (i & 1) {
      store<u8>(byte, load<u8>(byte) | <u8>((index & 15) << 4));
      store<u8>(byte + 1, <u8>(index >> 4));
    } else {
      store<u16>(byte, <u16>index);
    }
    if (half == 0) continue;
    const value = load<f32>(x + (<usize>index << 2));
    const isHigh = <u32>(abs<f32>(value) > split);
    const sign = reinterpret<u32>(value) >> 31;
    const decoded: f32 = reinterpret<f32>(reinterpret<u32>(isHigh ? scale + scale : scale) | (sign << 31));
    store<f32>(residue + (<usize>index << 2), value - decoded);
    const at = codes + <usize>(i >> 2);
    store<u8>(at, load<u8>(at) | <u8>((isHigh | (sign << 1)) << ((i & 3) << 1)));
  }
}

// @ts-ignore: decorator
@inline
function recordBytes(k: u32): usize {
  return 2 + <usize>((k + 3) >> 2) + <usize>((3 * k + 1) >> 1);
}

/** Records of n finite floats, and residue = x - decoded. `scratch`: 33,280 bytes. */
export function topkEncode(x: usize, out: usize, residue: usize, n: u32, scratch: usize): void {
  const found = scratch + 256;
  const places = found + 16_512;
  let record = out;
  memory.copy(residue, x, <usize>n << 2);
  for (let start: u32 = 0; start < n; start += CHUNK) {
    const count = min<u32>(CHUNK, n - start);
    const k = (count + KEPT_SHARE - 1) / KEPT_SHARE;
    const from = x + (<usize>start << 2);
    const low = count == CHUNK ? groupBound(from, scratch) : 0;
    const candidates = gather(from, count, low, found, places);
    v128.store(found + (<usize>candidates << 2), i32x4.splat(0));
    const bound = candidates == k ? low : kthGreatest(found, candidates, k, low);
    keep(found, places, candidates, k, bound);
    writeRecord(from, record, residue + (<usize>start << 2), places, k, scaleOf(found, k));
    record += recordBytes(k);
  }
}

/** Returns 0, or 1 for bits that no encoder writes (order or bound of indices, padding), 2 for a scale that is none. */
export function topkDecode(source: usize, out: usize, n: u32): u32 {
  let record = source;
  memory.fill(out, 0, <usize>n << 2);
  for (let start: u32 = 0; start < n; start += CHUNK) {
    const count = min<u32>(CHUNK, n - start);
    const k = (count + KEPT_SHARE - 1) / KEPT_SHARE;
    const half = <u32>load<u16>(record);
    if (half > 0x7bff) return 2;
    if (readRecord(record, out + (<usize>start << 2), count, k, half)) return 1;
    record += recordBytes(k);
  }
  return 0;
}

/** True if the record is not canonical. */
// @ts-ignore: decorator
@inline
function readRecord(record: usize, out: usize, count: u32, k: u32, half: u32): bool {
  const codes = record + 2;
  const indices = codes + <usize>((k + 3) >> 2);
  const scale = reinterpret<u32>(fromHalf(half));
  const isZero = half == 0;
  let next: u32 = 0; // the least index that may follow
  for (let i: u32 = 0; i < k; i++) {
    const word = <u32>load<u16>(indices + <usize>((3 * i) >> 1));
    const index = i & 1 ? word >> 4 : word & 0xfff;
    const code = (<u32>load<u8>(codes + <usize>(i >> 2)) >> ((i & 3) << 1)) & 3;
    if (index < next || index >= count) return true;
    if (isZero && (index != i || code != 0)) return true;
    next = index + 1;
    // Twice a normal float32: one more in its exponent. A zero has no code above 0.
    store<u32>(out + (<usize>index << 2), (scale + ((code & 1) << 23)) | ((code >> 1) << 31));
  }
  if (k & 3 && <u32>load<u8>(codes + <usize>(k >> 2)) >> ((k & 3) << 1) != 0) return true;
  return (k & 1) != 0 && <u32>load<u8>(indices + <usize>((3 * k) >> 1)) >> 4 != 0;
}
