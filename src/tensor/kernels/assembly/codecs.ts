/**
 * @file bf16, int8 and int4 with per-block scales. Encoders expect finite input (the callers check) and also write the
 * residue x − decode(encode(x)); decoders report codes that no encoder writes.
 */

const INT_BLOCK: u32 = 256;

/** Rounds to nearest even; saturates at the greatest finite bf16. residue = x − decoded, exact in float32. */
export function bf16Encode(x: usize, out: usize, residue: usize, n: u32): void {
  const magnitude = i32x4.splat(0x7fffffff);
  const greatest = i32x4.splat(0x7f7f7fff);
  const half = i32x4.splat(0x7fff);
  const one = i32x4.splat(1);
  const high = i32x4.splat(<i32>0xffff0000);
  const wide = n & ~3;
  let i: u32 = 0;
  for (; i < wide; i += 4) {
    const at = <usize>i << 2;
    const value = v128.load(x + at);
    const sign = v128.andnot(value, magnitude);
    const clamped = i32x4.min_u(v128.and(value, magnitude), greatest);
    const odd = v128.and(i32x4.shr_u(clamped, 16), one);
    const rounded = v128.or(sign, v128.and(i32x4.add(clamped, i32x4.add(half, odd)), high));
    v128.store(residue + at, f32x4.sub(value, rounded));
    const halves = i32x4.shr_u(rounded, 16);
    v128.store64_lane(out + (<usize>i << 1), i16x8.narrow_i32x4_u(halves, halves), 0);
  }
  for (; i < n; i++) {
    const bits = load<u32>(x + (<usize>i << 2));
    const clamped = min<u32>(bits & 0x7fffffff, 0x7f7f7fff);
    const rounded = (bits & 0x80000000) | ((clamped + 0x7fff + ((clamped >> 16) & 1)) & 0xffff0000);
    store<u16>(out + (<usize>i << 1), <u16>(rounded >> 16));
    store<f32>(residue + (<usize>i << 2), reinterpret<f32>(bits) - reinterpret<f32>(rounded));
  }
}

export function bf16Decode(source: usize, out: usize, n: u32): void {
  const wide = n & ~3;
  let i: u32 = 0;
  for (; i < wide; i += 4) {
    const halves = i32x4.extend_low_i16x8_u(v128.load64_zero(source + (<usize>i << 1)));
    v128.store(out + (<usize>i << 2), i32x4.shl(halves, 16));
  }
  for (; i < n; i++) {
    store<u32>(out + (<usize>i << 2), <u32>load<u16>(source + (<usize>i << 1)) << 16);
  }
}

/** Greatest magnitude of n finite floats. */
// @ts-ignore: decorator
@inline
function greatest(x: usize, n: u32): f32 {
  const wide = n & ~3;
  let top = f32x4.splat(0);
  let i: u32 = 0;
  for (; i < wide; i += 4) top = f32x4.max(top, f32x4.abs(v128.load(x + (<usize>i << 2))));
  let result: f32 = max<f32>(
    max<f32>(f32x4.extract_lane(top, 0), f32x4.extract_lane(top, 1)),
    max<f32>(f32x4.extract_lane(top, 2), f32x4.extract_lane(top, 3)),
  );
  for (; i < n; i++) result = max<f32>(result, abs<f32>(load<f32>(x + (<usize>i << 2))));
  return result;
}

/** amax / levels, or 0 where that would be subnormal: such a block is sent as zeros and stays in the residue. */
// @ts-ignore: decorator
@inline
function blockScale(x: usize, n: u32, levels: f32): f32 {
  const amax = greatest(x, n);
  return amax < levels * 1.1754943508222875e-38 ? 0 : amax / levels;
}

// @ts-ignore: decorator
@inline
function quantise4(x: usize, residue: usize, scale: v128, low: v128, high: v128): v128 {
  const value = v128.load(x);
  const nearest = f32x4.max(low, f32x4.min(high, f32x4.nearest(f32x4.div(value, scale))));
  const q = f32x4.add(nearest, f32x4.splat(0)); // −0 becomes +0, as after decoding
  v128.store(residue, f32x4.sub(value, f32x4.mul(q, scale)));
  return i32x4.trunc_sat_f32x4_s(q);
}

// @ts-ignore: decorator
@inline
function quantise1(x: usize, residue: usize, scale: f32, levels: f32): i32 {
  const value = load<f32>(x);
  const q: f32 = max<f32>(-levels, min<f32>(levels, nearest<f32>(value / scale))) + 0;
  store<f32>(residue, value - q * scale);
  return <i32>q;
}

// @ts-ignore: decorator
@inline
function quantise16(x: usize, residue: usize, scale: v128, low: v128, high: v128): v128 {
  return i8x16.narrow_i16x8_s(
    i16x8.narrow_i32x4_s(
      quantise4(x, residue, scale, low, high),
      quantise4(x + 16, residue + 16, scale, low, high),
    ),
    i16x8.narrow_i32x4_s(
      quantise4(x + 32, residue + 32, scale, low, high),
      quantise4(x + 48, residue + 48, scale, low, high),
    ),
  );
}

/** q = clamp(nearestEven(x / scale), ±127), one float32 scale per 256 elements; residue = x − q·scale. */
export function int8Encode(x: usize, q: usize, scales: usize, residue: usize, n: u32): void {
  const low = f32x4.splat(-127);
  const high = f32x4.splat(127);
  for (let start: u32 = 0; start < n; start += INT_BLOCK) {
    const count = min<u32>(INT_BLOCK, n - start);
    const from = x + (<usize>start << 2);
    const rest = residue + (<usize>start << 2);
    const to = q + <usize>start;
    const scale = blockScale(from, count, 127);
    store<f32>(scales + (<usize>(start / INT_BLOCK) << 2), scale);
    if (scale == 0) {
      memory.copy(rest, from, <usize>count << 2);
      memory.fill(to, 0, count);
      continue;
    }
    const vScale = f32x4.splat(scale);
    const wide = count & ~15;
    let i: u32 = 0;
    for (; i < wide; i += 16) {
      const at = <usize>i << 2;
      v128.store(to + <usize>i, quantise16(from + at, rest + at, vScale, low, high));
    }
    for (; i < count; i++) {
      const at = <usize>i << 2;
      store<i8>(to + <usize>i, <i8>quantise1(from + at, rest + at, scale, 127));
    }
  }
}

// @ts-ignore: decorator
@inline
function dequantise16(bytes: v128, out: usize, scale: v128): void {
  const low = i16x8.extend_low_i8x16_s(bytes);
  const high = i16x8.extend_high_i8x16_s(bytes);
  v128.store(out, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(low)), scale), 0);
  v128.store(out, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(low)), scale), 16);
  v128.store(out, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(high)), scale), 32);
  v128.store(out, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(high)), scale), 48);
}

/** out = q·scale. Returns 1 if some q is −128, which no encoder writes. */
export function int8Decode(q: usize, scales: usize, out: usize, n: u32): u32 {
  const forbidden = i8x16.splat(-128);
  let seen = i8x16.splat(0);
  let bad: u32 = 0;
  for (let start: u32 = 0; start < n; start += INT_BLOCK) {
    const count = min<u32>(INT_BLOCK, n - start);
    const from = q + <usize>start;
    const to = out + (<usize>start << 2);
    const scale = load<f32>(scales + (<usize>(start / INT_BLOCK) << 2));
    const vScale = f32x4.splat(scale);
    const wide = count & ~15;
    let i: u32 = 0;
    for (; i < wide; i += 16) {
      const bytes = v128.load(from + <usize>i);
      seen = v128.or(seen, i8x16.eq(bytes, forbidden));
      dequantise16(bytes, to + (<usize>i << 2), vScale);
    }
    for (; i < count; i++) {
      const value = load<i8>(from + <usize>i);
      if (value == -128) bad = 1;
      store<f32>(to + (<usize>i << 2), <f32>value * scale);
    }
  }
  return bad | <u32>v128.any_true(seen);
}

/** q = clamp(nearestEven(x / scale), ±7), two a byte, even element in the low half; an odd end leaves a zero half. */
export function int4Encode(x: usize, q: usize, scales: usize, residue: usize, n: u32): void {
  const low = f32x4.splat(-7);
  const high = f32x4.splat(7);
  for (let start: u32 = 0; start < n; start += INT_BLOCK) {
    const count = min<u32>(INT_BLOCK, n - start);
    const from = x + (<usize>start << 2);
    const rest = residue + (<usize>start << 2);
    const to = q + <usize>(start >> 1);
    const scale = blockScale(from, count, 7);
    store<f32>(scales + (<usize>(start / INT_BLOCK) << 2), scale);
    if (scale == 0) {
      memory.copy(rest, from, <usize>count << 2);
      memory.fill(to, 0, (count + 1) >> 1);
      continue;
    }
    const vScale = f32x4.splat(scale);
    const wide = count & ~31;
    let i: u32 = 0;
    for (; i < wide; i += 32) {
      const at = <usize>i << 2;
      const a = quantise16(from + at, rest + at, vScale, low, high);
      const b = quantise16(from + at + 64, rest + at + 64, vScale, low, high);
      const even = i8x16.shuffle(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
      const odd = i8x16.shuffle(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
      v128.store(to + <usize>(i >> 1), v128.or(v128.and(even, i8x16.splat(15)), i8x16.shl(odd, 4)));
    }
    for (; i < count; i += 2) {
      const at = <usize>i << 2;
      const even = quantise1(from + at, rest + at, scale, 7) & 15;
      const odd = i + 1 < count ? quantise1(from + at + 4, rest + at + 4, scale, 7) & 15 : 0;
      store<u8>(to + <usize>(i >> 1), <u8>(even | (odd << 4)));
    }
  }
}

/** out = q·scale. Returns 1 if some half is −8 or the unused last half is not 0. */
export function int4Decode(q: usize, scales: usize, out: usize, n: u32): u32 {
  const forbidden = i8x16.splat(-8);
  let seen = i8x16.splat(0);
  let bad: u32 = 0;
  for (let start: u32 = 0; start < n; start += INT_BLOCK) {
    const count = min<u32>(INT_BLOCK, n - start);
    const from = q + <usize>(start >> 1);
    const to = out + (<usize>start << 2);
    const scale = load<f32>(scales + (<usize>(start / INT_BLOCK) << 2));
    const vScale = f32x4.splat(scale);
    const wide = count & ~31;
    let i: u32 = 0;
    for (; i < wide; i += 32) {
      const bytes = v128.load(from + <usize>(i >> 1));
      const even = i8x16.shr_s(i8x16.shl(bytes, 4), 4);
      const odd = i8x16.shr_s(bytes, 4);
      seen = v128.or(seen, v128.or(i8x16.eq(even, forbidden), i8x16.eq(odd, forbidden)));
      const at = to + (<usize>i << 2);
      dequantise16(
        i8x16.shuffle(even, odd, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23),
        at,
        vScale,
      );
      dequantise16(
        i8x16.shuffle(even, odd, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31),
        at + 64,
        vScale,
      );
    }
    for (; i < count; i++) {
      const byte = <i32>load<i8>(from + <usize>(i >> 1));
      const value = i & 1 ? byte >> 4 : (byte << 28) >> 28;
      if (value == -8) bad = 1;
      store<f32>(to + (<usize>i << 2), <f32>value * scale);
    }
    if (count & 1 && load<u8>(from + <usize>(count >> 1)) >> 4 != 0) bad = 1;
  }
  return bad | <u32>v128.any_true(seen);
}
