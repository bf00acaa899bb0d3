/**
 * @file Sums of squares in 16 fixed float64 lanes: element i of a piece is added to lane i mod 16. A caller may cut a
 * piece into blocks of a multiple of 16 elements; the lanes carry over, so the cut does not show in the result.
 */

/** lanes[i mod 16] += x[i]². The square of a float32 is exact in float64. */
export function sumSquares(x: usize, n: u32, lanes: usize): void {
  let a0 = v128.load(lanes, 0);
  let a1 = v128.load(lanes, 16);
  let a2 = v128.load(lanes, 32);
  let a3 = v128.load(lanes, 48);
  let a4 = v128.load(lanes, 64);
  let a5 = v128.load(lanes, 80);
  let a6 = v128.load(lanes, 96);
  let a7 = v128.load(lanes, 112);
  const wide = n & ~15;
  let i: u32 = 0;
  for (; i < wide; i += 16) {
    const at = x + (<usize>i << 2);
    const x0 = f64x2.promote_low_f32x4(v128.load64_zero(at, 0));
    const x1 = f64x2.promote_low_f32x4(v128.load64_zero(at, 8));
    const x2 = f64x2.promote_low_f32x4(v128.load64_zero(at, 16));
    const x3 = f64x2.promote_low_f32x4(v128.load64_zero(at, 24));
    const x4 = f64x2.promote_low_f32x4(v128.load64_zero(at, 32));
    const x5 = f64x2.promote_low_f32x4(v128.load64_zero(at, 40));
    const x6 = f64x2.promote_low_f32x4(v128.load64_zero(at, 48));
    const x7 = f64x2.promote_low_f32x4(v128.load64_zero(at, 56));
    a0 = f64x2.add(a0, f64x2.mul(x0, x0));
    a1 = f64x2.add(a1, f64x2.mul(x1, x1));
    a2 = f64x2.add(a2, f64x2.mul(x2, x2));
    a3 = f64x2.add(a3, f64x2.mul(x3, x3));
    a4 = f64x2.add(a4, f64x2.mul(x4, x4));
    a5 = f64x2.add(a5, f64x2.mul(x5, x5));
    a6 = f64x2.add(a6, f64x2.mul(x6, x6));
    a7 = f64x2.add(a7, f64x2.mul(x7, x7));
  }
  v128.store(lanes, a0, 0);
  v128.store(lanes, a1, 16);
  v128.store(lanes, a2, 32);
  v128.store(lanes, a3, 48);
  v128.store(lanes, a4, 64);
  v128.store(lanes, a5, 80);
  v128.store(lanes, a6, 96);
  v128.store(lanes, a7, 112);
  for (; i < n; i++) {
    const value: f64 = <f64>load<f32>(x + (<usize>i << 2));
    const lane = lanes + (<usize>(i & 15) << 3);
    store<f64>(lane, load<f64>(lane) + value * value);
  }
}

/** lanes[i mod 16] += (Σ_m w_m·x_m[i])², the sum over m in the table's order in float64. Table: see merge.ts. */
export function weightedSumSquares(table: usize, k: u32, n: u32, lanes: usize): void {
  const wide = n & ~3;
  const end = table + (<usize>k << 4);
  let i: u32 = 0;
  for (; i < wide; i += 4) {
    const at = <usize>i << 2;
    let s0 = f64x2.splat(0);
    let s1 = f64x2.splat(0);
    for (let row = table; row < end; row += 16) {
      const x = <usize>load<u32>(row) + at;
      const w = v128.load64_splat(row, 8);
      s0 = f64x2.add(s0, f64x2.mul(w, f64x2.promote_low_f32x4(v128.load64_zero(x, 0))));
      s1 = f64x2.add(s1, f64x2.mul(w, f64x2.promote_low_f32x4(v128.load64_zero(x, 8))));
    }
    const lane = lanes + (<usize>(i & 15) << 3);
    v128.store(lane, f64x2.add(v128.load(lane, 0), f64x2.mul(s0, s0)), 0);
    v128.store(lane, f64x2.add(v128.load(lane, 16), f64x2.mul(s1, s1)), 16);
  }
  for (; i < n; i++) {
    let sum: f64 = 0;
    for (let row = table; row < end; row += 16) {
      sum += load<f64>(row, 8) * <f64>load<f32>(<usize>load<u32>(row) + (<usize>i << 2));
    }
    const lane = lanes + (<usize>(i & 15) << 3);
    store<f64>(lane, load<f64>(lane) + sum * sum);
  }
}
