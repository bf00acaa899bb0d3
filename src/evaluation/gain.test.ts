/** @file The judgement of paired losses against tabulated t quantiles and on seeded noise. */
import { describe, expect, it } from 'vitest';
import { Rng } from '../util/rng.ts';
import { judgeGain } from './gain.ts';
import { studentTQuantile } from './student-t.ts';

/** Paired losses around 5 nats whose true mean gain is `gain`. */
function pairs(gain: number, options: { count: number; noise: number; seed: number }): [Float64Array, Float64Array] {
  const rng = new Rng(options.seed);
  const without = Float64Array.from({ length: options.count }, () => 5 + 0.5 * rng.normal());
  return [without, without.map((loss) => loss - gain + options.noise * rng.normal())];
}

describe('studentTQuantile', () => {
  it('agrees with printed tables', () => {
    const table = [
      [0.999, 1, 318.3088],
      [0.999, 7, 4.78529],
      [0.999, 15, 3.732834],
      [0.999, 60, 3.231709],
      [0.975, 10, 2.228139],
      [0.95, 120, 1.657651],
    ] as const;
    for (const [p, degrees, expected] of table) {
      const relative = Math.abs(studentTQuantile(p, degrees) / expected - 1);
      expect(relative, `p ${p}, ${degrees} degrees`).toBeLessThan(1e-4);
    }
  });
});

describe('judgeGain', () => {
  it('does not call an improvement harmful, nor noise', () => {
    for (let seed = 0; seed < 200; seed++)
      for (const gain of [0.02, 0]) {
        const { isHarmful } = judgeGain(...pairs(gain, { count: 8, noise: 0.02, seed }));
        // A mean of zero is refused once in a thousand; no seed here is that one.
        expect(isHarmful, `gain ${gain} seed ${seed}`).toBe(false);
      }
  });

  it('calls clear harm by its name', () => {
    for (let seed = 0; seed < 50; seed++) {
      const judged = judgeGain(...pairs(-0.5, { count: 8, noise: 0.05, seed }));
      expect(judged.isHarmful, `seed ${seed}`).toBe(true);
      expect(judged.gain).toBeLessThan(0);
      expect(judged.upperBound).toBeGreaterThan(judged.gain);
    }
  });

  it('calls a loss that is no number harm, and never judges by one sequence', () => {
    const finite = Float64Array.of(5, 5);
    expect(judgeGain(finite, Float64Array.of(4, Number.NaN)).isHarmful).toBe(true);
    expect(judgeGain(Float64Array.of(5), Float64Array.of(9)).isHarmful).toBe(false);
  });
});
