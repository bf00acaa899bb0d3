/** @file Robust merge rules: what is cut off, what liars can move, and that all stay between the smallest and the largest. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MergeError } from './errors.ts';
import { combineRobustly, type RobustInput } from './robust.ts';
import { robustRules } from './rules.ts';

const input = (rows: readonly (readonly number[])[], shares?: readonly number[], trim = 0.25): RobustInput => ({
  pseudoGradients: rows.map((row) => Float32Array.from(row)),
  learners: rows.map((_, m) => ({ share: shares?.[m] ?? 1 / rows.length, clip: 1 })),
  trim,
});

describe('robust merge rules', () => {
  it('cut off what lies outside, by weight', () => {
    const rows = [[0], [1], [2], [100]];
    expect([...combineRobustly('trimmed-mean', input(rows))]).toEqual([1.5]);
    // A fifth cuts four fifths of the outer quarters: (0.05·0 + 0.25·1 + 0.25·2 + 0.05·100) / 0.6
    expect(combineRobustly('trimmed-mean', input(rows, undefined, 0.2))[0]).toBeCloseTo(5.75 / 0.6, 5);
    expect([...combineRobustly('median', input(rows))]).toEqual([1]);
    expect([...combineRobustly('median', input(rows, [0.1, 0.1, 0.1, 0.7]))]).toEqual([100]);
  });

  it('are the mean where nothing is cut and nothing lies far out', () => {
    const rows = [
      [1, -2, 0.5],
      [3, 0, 1.5],
    ];
    expect([...combineRobustly('trimmed-mean', input(rows, undefined, 0))]).toEqual([2, -1, 1]);
    expect([
      ...combineRobustly(
        'centred-clip',
        input([
          [1, 2],
          [1, 2],
          [1, 2],
        ]),
      ),
    ]).toEqual([1, 2]);
  });

  it('move little for a liar with less than half of the weight, however far he goes', () => {
    const honest = [
      [1, 1],
      [1.1, 0.9],
      [0.9, 1.1],
    ];
    for (const rule of robustRules)
      for (const far of [1e2, 1e4, 1e6]) {
        const [x, y] = combineRobustly(rule, input([...honest, [-far, far]], undefined, 0.3));
        expect(Math.hypot(x! - 1, y! - 1), `${rule} ${far}`).toBeLessThan(0.5);
      }
  });

  it('clip first', () => {
    const rows = input([[4], [4], [4]]);
    const learners = rows.learners.map((learner) => ({ ...learner, clip: 0.5 }));
    for (const rule of robustRules) expect([...combineRobustly(rule, { ...rows, learners })], rule).toEqual([2]);
  });

  it('lie between the smallest and the largest value', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.float({ noNaN: true, min: -9, max: 9 }), fc.integer({ min: 1, max: 9 })), {
          minLength: 1,
          maxLength: 9,
        }),
        (claims) => {
          const total = claims.reduce((sum, [, weight]) => sum + weight, 0);
          const shares = claims.map(([, weight]) => weight / total);
          const values = claims.map(([value]) => Math.fround(value));
          for (const rule of robustRules) {
            const [merged] = combineRobustly(
              rule,
              input(
                values.map((value) => [value]),
                shares,
                0.2,
              ),
            );
            expect(merged).toBeGreaterThanOrEqual(Math.min(...values) - 1e-5);
            expect(merged).toBeLessThanOrEqual(Math.max(...values) + 1e-5);
          }
        },
      ),
    );
  });

  it('refuse to trim all', () => {
    expect(() => combineRobustly('trimmed-mean', input([[1]], undefined, 0.5))).toThrow(MergeError);
  });
});
