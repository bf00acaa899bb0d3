/** @file The cache of rows: views in order, over growth, and with only the last rows kept. */
import { describe, expect, it } from 'vitest';
import { RowCache } from './row-cache.ts';

/** Row r of part p is [100p + r, ..]. */
function filled(options: { readonly keep: number }, runs: readonly number[]): RowCache {
  const cache = new RowCache({ parts: 2, width: 3, ...options });
  let row = 0;
  for (const count of runs) {
    const at = (i: number) => 100 * Math.floor(i / (count * 3)) + row + (Math.floor(i / 3) % count);
    cache.append(
      Float32Array.from({ length: 2 * count * 3 }, (_, i) => at(i)),
      count,
    );
    row += count;
  }
  return cache;
}
const first = (cache: RowCache, segments: number, rows: number) =>
  cache
    .views(segments, rows)
    .map((parts) => parts.map(({ data, shape }) => [...data].filter((_, i) => i % shape[1]! === 0)));

describe('RowCache', () => {
  it('gives the rows of all runs, in segments', () => {
    const cache = filled({ keep: Infinity }, [1, 4, 1]);
    expect(cache.rows).toBe(6);
    expect(first(cache, 2, 4)).toEqual([
      [
        [0, 1, 2, 3],
        [100, 101, 102, 103],
      ],
      [
        [4, 5],
        [104, 105],
      ],
    ]);
    expect(first(cache, 4, 3)).toEqual([
      [
        [0, 1, 2],
        [100, 101, 102],
      ],
      [
        [3, 4, 5],
        [103, 104, 105],
      ],
      [[], []],
      [[], []],
    ]);
    expect(() => cache.views(1, 5)).toThrow('6 rows do not fit 1 x 5');
    cache.clear();
    expect(first(cache, 1, 4)).toEqual([[[], []]]);
  });

  it('keeps its rows when it grows, and only the last ones where so told', () => {
    const runs = Array.from({ length: 40 }, (_, i) => 1 + (i % 4));
    expect(first(filled({ keep: Infinity }, runs), 1, 100)[0]![0]).toEqual(Array.from({ length: 100 }, (_, i) => i));
    for (const keep of [0, 1, 5, 63])
      expect(first(filled({ keep }, runs), 1, keep)[0]![0], `keep ${keep}`).toEqual(
        Array.from({ length: keep }, (_, i) => 100 - keep + i),
      );
  });
});
