/** @file AdamW with decoupled weight decay (arXiv:1711.05101) in float32, four elements at a time. */

/**
 * g = scale·grad; m ← b1·m + c1·g; v ← b2·v + (c2·g)·g; p ← p·keep − step·(m / (sqrt(v·inv2) + eps)), with
 * c1 = 1 − b1, c2 = 1 − b2, keep = 1 − lr·decay, step = lr / (1 − b1^t), inv2 = 1 / (1 − b2^t).
 */
export function adamw(
  param: usize,
  grad: usize,
  m: usize,
  v: usize,
  n: u32,
  scale: f32,
  b1: f32,
  c1: f32,
  b2: f32,
  c2: f32,
  keep: f32,
  step: f32,
  inv2: f32,
  eps: f32,
): void {
  const wide = n & ~3;
  const vScale = f32x4.splat(scale);
  const vB1 = f32x4.splat(b1);
  const vC1 = f32x4.splat(c1);
  const vB2 = f32x4.splat(b2);
  const vC2 = f32x4.splat(c2);
  const vKeep = f32x4.splat(keep);
  const vStep = f32x4.splat(step);
  const vInv2 = f32x4.splat(inv2);
  const vEps = f32x4.splat(eps);
  let i: u32 = 0;
  for (; i < wide; i += 4) {
    const at = <usize>i << 2;
    const g = f32x4.mul(v128.load(grad + at), vScale);
    const mNew = f32x4.add(f32x4.mul(vB1, v128.load(m + at)), f32x4.mul(vC1, g));
    const vNew = f32x4.add(f32x4.mul(vB2, v128.load(v + at)), f32x4.mul(f32x4.mul(vC2, g), g));
    v128.store(m + at, mNew);
    v128.store(v + at, vNew);
    const root = f32x4.add(f32x4.sqrt(f32x4.mul(vNew, vInv2)), vEps);
    const move = f32x4.mul(vStep, f32x4.div(mNew, root));
    v128.store(param + at, f32x4.sub(f32x4.mul(v128.load(param + at), vKeep), move));
  }
  for (; i < n; i++) {
    const at = <usize>i << 2;
    const g: f32 = load<f32>(grad + at) * scale;
    const mNew: f32 = b1 * load<f32>(m + at) + c1 * g;
    const vNew: f32 = b2 * load<f32>(v + at) + c2 * g * g;
    store<f32>(m + at, mNew);
    store<f32>(v + at, vNew);
    const root: f32 = sqrt<f32>(vNew * inv2) + eps;
    store<f32>(param + at, load<f32>(param + at) * keep - step * (mNew / root));
  }
}
