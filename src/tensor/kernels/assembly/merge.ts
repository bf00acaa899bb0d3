/**
 * @file Weighted sums over learners in float64, rounded to float32 once, and the outer steps fused behind them.
 * A table has k rows of 16 bytes: u32 address of the learner's float32 data, 4 bytes unused, f64 weight; rows are
 * added in order, from +0.
 */

// @ts-ignore: decorator
@inline
function sum2(table: usize, end: usize, at: usize): v128 {
  let sum = f64x2.splat(0);
  for (let row = table; row < end; row += 16) {
    const x = f64x2.promote_low_f32x4(v128.load64_zero(<usize>load<u32>(row) + at));
    sum = f64x2.add(sum, f64x2.mul(v128.load64_splat(row, 8), x));
  }
  return sum;
}

// @ts-ignore: decorator
@inline
function sum1(table: usize, end: usize, at: usize): f64 {
  let sum: f64 = 0;
  for (let row = table; row < end; row += 16) {
    sum += load<f64>(row, 8) * <f64>load<f32>(<usize>load<u32>(row) + at);
  }
  return sum;
}

/** out[i] = f32(Σ_m w_m·x_m[i]). */
export function weightedMean(table: usize, k: u32, n: u32, out: usize): void {
  const wide = n & ~7;
  const end = table + (<usize>k << 4);
  let i: u32 = 0;
  for (; i < wide; i += 8) {
    const at = <usize>i << 2;
    let s0 = f64x2.splat(0);
    let s1 = f64x2.splat(0);
    let s2 = f64x2.splat(0);
    let s3 = f64x2.splat(0);
    for (let row = table; row < end; row += 16) {
      const x = <usize>load<u32>(row) + at;
      const w = v128.load64_splat(row, 8);
      s0 = f64x2.add(s0, f64x2.mul(w, f64x2.promote_low_f32x4(v128.load64_zero(x, 0))));
      s1 = f64x2.add(s1, f64x2.mul(w, f64x2.promote_low_f32x4(v128.load64_zero(x, 8))));
      s2 = f64x2.add(s2, f64x2.mul(w, f64x2.promote_low_f32x4(v128.load64_zero(x, 16))));
      s3 = f64x2.add(s3, f64x2.mul(w, f64x2.promote_low_f32x4(v128.load64_zero(x, 24))));
    }
    v128.store64_lane(out + at, f32x4.demote_f64x2_zero(s0), 0, 0);
    v128.store64_lane(out + at, f32x4.demote_f64x2_zero(s1), 0, 8);
    v128.store64_lane(out + at, f32x4.demote_f64x2_zero(s2), 0, 16);
    v128.store64_lane(out + at, f32x4.demote_f64x2_zero(s3), 0, 24);
  }
  for (; i < n; i++) {
    const at = <usize>i << 2;
    store<f32>(out + at, <f32>sum1(table, end, at));
  }
}

// @ts-ignore: decorator
@inline
function nesterov2(sum: v128, theta: usize, momentum: usize, rate: v128, mu: v128): void {
  const delta = f64x2.promote_low_f32x4(f32x4.demote_f64x2_zero(sum));
  const v = f32x4.demote_f64x2_zero(
    f64x2.add(f64x2.mul(mu, f64x2.promote_low_f32x4(v128.load64_zero(momentum))), delta),
  );
  v128.store64_lane(momentum, v, 0);
  const move = f64x2.mul(rate, f64x2.add(delta, f64x2.mul(mu, f64x2.promote_low_f32x4(v))));
  const moved = f64x2.sub(f64x2.promote_low_f32x4(v128.load64_zero(theta)), move);
  v128.store64_lane(theta, f32x4.demote_f64x2_zero(moved), 0);
}

/**
 * Δ = f32(Σ_m w_m·x_m); v ← f32(μ·v + Δ); Θ ← f32(Θ − η·(Δ + μ·v)) with the new, rounded v; inner arithmetic float64.
 */
export function weightedNesterov(
  table: usize,
  k: u32,
  n: u32,
  theta: usize,
  momentum: usize,
  rate: f64,
  mu: f64,
): void {
  const wide = n & ~7;
  const end = table + (<usize>k << 4);
  const vRate = f64x2.splat(rate);
  const vMu = f64x2.splat(mu);
  let i: u32 = 0;
  for (; i < wide; i += 8) {
    const at = <usize>i << 2;
    let s0 = f64x2.splat(0);
    let s1 = f64x2.splat(0);
    let s2 = f64x2.splat(0);
    let s3 = f64x2.splat(0);
    for (let row = table; row < end; row += 16) {
      const x = <usize>load<u32>(row) + at;
      const w = v128.load64_splat(row, 8);
      s0 = f64x2.add(s0, f64x2.mul(w, f64x2.promote_low_f32x4(v128.load64_zero(x, 0))));
      s1 = f64x2.add(s1, f64x2.mul(w, f64x2.promote_low_f32x4(v128.load64_zero(x, 8))));
      s2 = f64x2.add(s2, f64x2.mul(w, f64x2.promote_low_f32x4(v128.load64_zero(x, 16))));
      s3 = f64x2.add(s3, f64x2.mul(w, f64x2.promote_low_f32x4(v128.load64_zero(x, 24))));
    }
    nesterov2(s0, theta + at, momentum + at, vRate, vMu);
    nesterov2(s1, theta + at + 8, momentum + at + 8, vRate, vMu);
    nesterov2(s2, theta + at + 16, momentum + at + 16, vRate, vMu);
    nesterov2(s3, theta + at + 24, momentum + at + 24, vRate, vMu);
  }
  for (; i < n; i++) {
    const at = <usize>i << 2;
    const delta: f64 = <f64>(<f32>sum1(table, end, at));
    const v: f32 = <f32>(mu * <f64>load<f32>(momentum + at) + delta);
    store<f32>(momentum + at, v);
    store<f32>(theta + at, <f32>(<f64>load<f32>(theta + at) - rate * (delta + mu * <f64>v)));
  }
}

/** theta[i] ← f32(theta[i] − Σ_m w_m·x_m[i]): outer rate 1 without momentum (selection biases). */
export function weightedShift(table: usize, k: u32, n: u32, theta: usize): void {
  const wide = n & ~1;
  const end = table + (<usize>k << 4);
  let i: u32 = 0;
  for (; i < wide; i += 2) {
    const at = <usize>i << 2;
    const old = f64x2.promote_low_f32x4(v128.load64_zero(theta + at));
    v128.store64_lane(theta + at, f32x4.demote_f64x2_zero(f64x2.sub(old, sum2(table, end, at))), 0);
  }
  for (; i < n; i++) {
    const at = <usize>i << 2;
    store<f32>(theta + at, <f32>(<f64>load<f32>(theta + at) - sum1(table, end, at)));
  }
}
