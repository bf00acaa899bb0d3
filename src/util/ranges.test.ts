/** @file Range lists against plain sets of numbers, on random lists. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  containsRanges,
  countRanges,
  eachInRanges,
  intersectRanges,
  isNormalRanges,
  normalizeRanges,
  type Range,
  subtractRanges,
  takeFromRanges,
  unionRanges,
} from './ranges.ts';

const anyRanges = fc
  .array(fc.tuple(fc.nat(60), fc.nat(8)), { maxLength: 12 })
  .map((pairs) => pairs.map(([from, length]): Range => [from, from + length]));
const normalRanges = anyRanges.map(normalizeRanges);
const toSet = (ranges: readonly Range[]): Set<number> => new Set(eachInRanges(ranges));
const sorted = (numbers: Iterable<number>): number[] => [...numbers].sort((a, b) => a - b);

describe('ranges', () => {
  it('normalises to the same set in normal form', () => {
    fc.assert(
      fc.property(anyRanges, (ranges) => {
        const normal = normalizeRanges(ranges);
        expect(isNormalRanges(normal)).toBe(true);
        expect(sorted(toSet(normal))).toEqual(sorted(toSet(ranges)));
      }),
      { seed: 1 },
    );
  });

  it('unites and intersects few with many as few with few', () => {
    const many = fc
      .uniqueArray(fc.nat(400), { minLength: 60, maxLength: 120 })
      .map((starts) => normalizeRanges(starts.map((from): Range => [3 * from, 3 * from + 2])));
    const few = fc
      .array(fc.tuple(fc.nat(1_200), fc.integer({ min: 1, max: 40 })), { maxLength: 2 })
      .map((pairs) => normalizeRanges(pairs.map(([from, length]): Range => [from, from + length])));
    fc.assert(
      fc.property(many, few, (a, b) => {
        const union = unionRanges(a, b);
        expect(isNormalRanges(union)).toBe(true);
        expect(union).toEqual(normalizeRanges([...a, ...b]));
        const [setA, both] = [toSet(a), intersectRanges(b, a)];
        expect(isNormalRanges(both)).toBe(true);
        expect(sorted(toSet(both))).toEqual(sorted([...toSet(b)].filter((n) => setA.has(n))));
      }),
      { seed: 1 },
    );
  });

  it('unites, subtracts, intersects, contains and counts as sets do', () => {
    fc.assert(
      fc.property(normalRanges, normalRanges, (a, b) => {
        const [setA, setB] = [toSet(a), toSet(b)];
        const results = [unionRanges(a, b), subtractRanges(a, b), intersectRanges(a, b)] as const;
        for (const result of results) expect(isNormalRanges(result)).toBe(true);
        expect(sorted(toSet(results[0]))).toEqual(sorted(new Set([...setA, ...setB])));
        expect(sorted(toSet(results[1]))).toEqual(sorted([...setA].filter((n) => !setB.has(n))));
        expect(sorted(toSet(results[2]))).toEqual(sorted([...setA].filter((n) => setB.has(n))));
        expect(containsRanges(a, b)).toBe([...setB].every((n) => setA.has(n)));
        expect(countRanges(a)).toBe(setA.size);
      }),
      { seed: 2, numRuns: 300 },
    );
  });

  it('takes the smallest numbers first', () => {
    fc.assert(
      fc.property(normalRanges, fc.nat(80), (ranges, count) => {
        const [taken, rest] = takeFromRanges(ranges, count);
        const all = sorted(toSet(ranges));
        expect(sorted(toSet(taken))).toEqual(all.slice(0, count));
        expect(sorted(toSet(rest))).toEqual(all.slice(count));
        expect(isNormalRanges(taken) && isNormalRanges(rest)).toBe(true);
      }),
      { seed: 3 },
    );
  });

  it('knows what is not in normal form', () => {
    const wrong: Range[][] = [
      [[3, 3]],
      [
        [2, 5],
        [5, 7],
      ],
      [
        [4, 6],
        [0, 2],
      ],
      [[-1, 2]],
      [[0, 1.5]],
      [[0, Number.NaN]],
    ];
    for (const ranges of wrong) expect(isNormalRanges(ranges), JSON.stringify(ranges)).toBe(false);
  });
});
