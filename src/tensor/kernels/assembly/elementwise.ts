/** @file y ← y + a·x, y ← a·y, out = a − b + c, and the search for NaN and infinity. */

export function axpy(a: f32, x: usize, y: usize, n: u32): void {
  const wide = n & ~3;
  const va = f32x4.splat(a);
  let i: u32 = 0;
  for (; i < wide; i += 4) {
    const at = <usize>i << 2;
    v128.store(y + at, f32x4.add(v128.load(y + at), f32x4.mul(va, v128.load(x + at))));
  }
  for (; i < n; i++) {
    const at = <usize>i << 2;
    store<f32>(y + at, load<f32>(y + at) + a * load<f32>(x + at));
  }
}

export function scale(a: f32, y: usize, n: u32): void {
  const wide = n & ~3;
  const va = f32x4.splat(a);
  let i: u32 = 0;
  for (; i < wide; i += 4) {
    const at = <usize>i << 2;
    v128.store(y + at, f32x4.mul(va, v128.load(y + at)));
  }
  for (; i < n; i++) {
    const at = <usize>i << 2;
    store<f32>(y + at, a * load<f32>(y + at));
  }
}

/** out = (a − b) + c; a pseudo-gradient with its codec residue, or a take-in. Any of the inputs may be `out`. */
export function difference(a: usize, b: usize, c: usize, out: usize, n: u32): void {
  const wide = n & ~3;
  let i: u32 = 0;
  for (; i < wide; i += 4) {
    const at = <usize>i << 2;
    v128.store(out + at, f32x4.add(f32x4.sub(v128.load(a + at), v128.load(b + at)), v128.load(c + at)));
  }
  for (; i < n; i++) {
    const at = <usize>i << 2;
    store<f32>(out + at, load<f32>(a + at) - load<f32>(b + at) + load<f32>(c + at));
  }
}

/** 1 if any element's magnitude is at least `limitBits` read as a float32 (NaN and infinity are above all), else 0. */
export function nonFinite(x: usize, n: u32, limitBits: u32): u32 {
  const wide = n & ~3;
  const magnitude = i32x4.splat(0x7fffffff);
  const limit = i32x4.splat(<i32>limitBits);
  let seen = i32x4.splat(0);
  let i: u32 = 0;
  for (; i < wide; i += 4) {
    seen = v128.or(seen, i32x4.ge_s(v128.and(v128.load(x + (<usize>i << 2)), magnitude), limit));
  }
  if (v128.any_true(seen)) return 1;
  for (; i < n; i++) {
    if ((load<u32>(x + (<usize>i << 2)) & 0x7fffffff) >= limitBits) return 1;
  }
  return 0;
}
