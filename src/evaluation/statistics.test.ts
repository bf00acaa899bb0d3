/** @file Estimates and paired tests against values worked out by hand or printed in tables, and intervals against their promise. */
import { describe, expect, it } from 'vitest';
import { Rng } from '../util/rng.ts';
import { mcNemar, pairedT, proportion, weightedMean } from './statistics.ts';
import { studentTTwoSided } from './student-t.ts';

const ones = (n: number) => new Float64Array(n).fill(1);

describe('weightedMean', () => {
  it('is the mean with s/√n where weights are alike', () => {
    // 1, 2, 3, 4: s² = 5/3; t of 3 degrees at 97.5 % is 3.182446.
    const { value, standardError, low, high } = weightedMean([1, 2, 3, 4], ones(4));
    expect(value).toBe(2.5);
    expect(standardError).toBeCloseTo(Math.sqrt(5 / 3 / 4), 12);
    expect(low).toBeCloseTo(2.5 - 3.182446 * Math.sqrt(5 / 12), 5);
    expect(high).toBeCloseTo(2.5 + 3.182446 * Math.sqrt(5 / 12), 5);
  });

  it('weights by tokens', () => {
    // (3·10 + 1·30) / 40 = 1.5; deviations 10·1.5 and 30·−0.5 are both 15 in size: √(2/1 · 450) / 40.
    const { value, standardError } = weightedMean([3, 1], [10, 30]);
    expect(value).toBe(1.5);
    expect(standardError).toBeCloseTo(Math.sqrt(2 * 450) / 40, 12);
  });

  it('promises nothing on one item', () => {
    expect(weightedMean([2], [7])).toMatchObject({ value: 2, low: -Infinity, high: Infinity });
  });

  it('holds the true mean in about 95 of 100 samples', () => {
    const rng = new Rng(1);
    let inside = 0;
    for (let sample = 0; sample < 1_000; sample++) {
      const weights = Array.from({ length: 12 }, () => 50 + rng.below(50));
      const { low, high } = weightedMean(
        weights.map(() => 3 + rng.normal()),
        weights,
      );
      if (low <= 3 && 3 <= high) inside++;
    }
    expect(inside).toBeGreaterThan(930);
    expect(inside).toBeLessThan(970);
  });
});

describe('proportion', () => {
  it('is Wilson’s interval with the sample’s standard error', () => {
    // 8 of 10, worked out by hand: (0.8 + 0.19207) / 1.38415 ± 0.22649.
    const { value, standardError, low, high } = proportion(8, 10);
    expect(value).toBe(0.8);
    expect(standardError).toBeCloseTo(Math.sqrt(0.16 / 9), 12);
    expect(low).toBeCloseTo(0.49016, 4);
    expect(high).toBeCloseTo(0.94332, 4);
  });

  it('stays within 0 and 1 at the ends', () => {
    const [none, all] = [proportion(0, 20), proportion(20, 20)];
    expect(none.low).toBe(0);
    expect(none.high).toBeCloseTo(0.16113, 4); // z² / (n + z²)
    expect(all).toMatchObject({ value: 1, high: 1, standardError: 0 });
  });

  it('holds the true share in at least 93 of 100 samples, also near 1', () => {
    for (const share of [0.25, 0.5, 0.9]) {
      const rng = new Rng(`share ${share}`);
      let inside = 0;
      for (let sample = 0; sample < 1_000; sample++) {
        const right = Array.from({ length: 60 }, () => rng.uniform() < share).filter(Boolean).length;
        const { low, high } = proportion(right, 60);
        if (low <= share && share <= high) inside++;
      }
      expect(inside, `share ${share}`).toBeGreaterThan(930);
    }
  });
});

describe('paired tests', () => {
  it('t agrees with a printed table', () => {
    expect(studentTTwoSided(2.228139, 10)).toBeCloseTo(0.05, 6);
    expect(studentTTwoSided(-3.169273, 10)).toBeCloseTo(0.01, 6);
    expect(studentTTwoSided(0, 10)).toBeCloseTo(1, 12);
  });

  it('t of Student’s own sleep data', () => {
    // Biometrika 6 (1908): hours of sleep gained by ten patients with two drugs; t = 4.0621, p = 0.00283.
    const first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0, 2];
    const second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4];
    const { difference, p, test } = pairedT(first, second, ones(10));
    expect(test).toBe('paired t');
    expect(difference.value).toBeCloseTo(1.58, 10);
    expect(difference.value / difference.standardError).toBeCloseTo(4.0621, 4);
    expect(p).toBeCloseTo(0.002833, 5);
  });

  it('sees no difference between equals', () => {
    expect(pairedT([1, 2, 3], [1, 2, 3], ones(3))).toMatchObject({ p: 1, difference: { value: 0 } });
    expect(mcNemar([true, false], [true, false])).toMatchObject({ p: 1, difference: { value: 0 } });
  });

  it('McNemar counts what the two answer differently', () => {
    // 9 gained, 1 lost of 10: 2 · (1 + 10) / 1024.
    const first = [...Array<boolean>(9).fill(false), true, true, true, false];
    const second = [...Array<boolean>(9).fill(true), false, true, true, false];
    const { p, difference, test } = mcNemar(first, second);
    expect(test).toBe('McNemar, exact');
    expect(p).toBeCloseTo(22 / 1024, 12);
    expect(difference.value).toBeCloseTo(8 / 13, 12);
    expect(mcNemar(second, first).p).toBeCloseTo(p, 12);
  });

  it('refuses too often by no more than it says', () => {
    const rng = new Rng('null');
    let refused = 0;
    for (let trial = 0; trial < 1_000; trial++) {
      const draw = () => Array.from({ length: 40 }, () => 2 + rng.normal());
      if (pairedT(draw(), draw(), ones(40)).p < 0.05) refused++;
    }
    expect(refused).toBeGreaterThan(25);
    expect(refused).toBeLessThan(75);
  });
});
