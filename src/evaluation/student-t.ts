/** @file Quantiles of Student's t distribution, for bounds on the mean of few measurements. */
import { assert } from '../util/errors.ts';

/** x with P(T ≤ x) = p for T with `degrees` degrees of freedom; p in (0.5, 1). Accurate to about 1e-9 relative. */
export function studentTQuantile(p: number, degrees: number): number {
  assert(p > 0.5 && p < 1 && degrees >= 1, `studentTQuantile: p in (0.5, 1) and degrees ≥ 1, got ${p}, ${degrees}`);
  let low = 0;
  let high = 1;
  while (studentTCdf(high, degrees) < p) high *= 2;
  for (let i = 0; i < 200 && high - low > 1e-12 * high; i++) {
    const middle = (low + high) / 2;
    if (studentTCdf(middle, degrees) < p) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** P(|T| ≥ |t|): how often chance alone gives so large a statistic. */
export function studentTTwoSided(t: number, degrees: number): number {
  return Number.isFinite(t) ? 2 * (1 - studentTCdf(Math.abs(t), degrees)) : 0;
}

/** P(T ≤ x) for x ≥ 0: 1 − I_{ν/(ν+x²)}(ν/2, 1/2) / 2. */
function studentTCdf(x: number, degrees: number): number {
  return 1 - incompleteBeta(degrees / (degrees + x * x), degrees / 2, 0.5) / 2;
}

/** I_x(a, b), by its continued fraction (DLMF 8.17.22) on the side where it converges fast. */
function incompleteBeta(x: number, a: number, b: number): number {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(1 - x, b, a);
  const front = Math.exp(a * Math.log(x) + b * Math.log1p(-x) - logBeta(a, b)) / a;
  // Modified Lentz.
  let c = 1;
  let d = 1 / (1 - ((a + b) * x) / (a + 1));
  let fraction = d;
  for (let m = 1; m < 500; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    let change = 1;
    for (const term of [even, odd]) {
      d = 1 / (1 + term * d);
      c = 1 + term / c;
      change = c * d;
      fraction *= change;
    }
    if (Math.abs(change - 1) < 1e-15) break;
  }
  return front * fraction;
}

const logBeta = (a: number, b: number): number => logGamma(a) + logGamma(b) - logGamma(a + b);

/** ln Γ(x) for x > 0: Stirling's series after shifting x above 10. */
function logGamma(x: number): number {
  let shift = 0;
  let z = x;
  for (; z < 10; z++) shift -= Math.log(z);
  const inverse = 1 / (z * z);
  const series = (1 / 12 - inverse * (1 / 360 - inverse * (1 / 1260 - inverse / 1680))) / z;
  return shift + (z - 0.5) * Math.log(z) - z + 0.5 * Math.log(2 * Math.PI) + series;
}
