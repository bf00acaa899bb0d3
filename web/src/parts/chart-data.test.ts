/** @file Lines as columns. */
import { describe, expect, it } from 'vitest';
import { type ChartLine, columnsOf, describeLine, sampleIndices } from './chart-data.ts';
import { layoutOf } from './chart-plot.ts';

const line = (label: string, x: number[], value: number[], bounds = value): ChartLine => ({
  ...{ label, atMs: x.map((t) => t * 1_000), countedTokens: x, value, low: value, high: bounds },
});

describe('columnsOf', () => {
  it('puts lines of different points on one axis, with holes', () => {
    const columns = columnsOf([line('a', [1, 3], [10, 30]), line('b', [2, 3], [5, 6])], 'tokens');
    expect(columns.x).toEqual([1, 2, 3]);
    expect(columns.values).toEqual([
      [10, null, 30],
      [null, 5, 6],
    ]);
  });

  it('counts time in seconds, as uPlot does', () => {
    expect(columnsOf([line('a', [1, 3], [10, 30])], 'time').x).toEqual([1, 3]);
  });

  it('has a band only where points stand for several', () => {
    const columns = columnsOf([line('a', [1, 2], [10, 30]), line('b', [1, 2], [5, 6], [7, 6])], 'tokens');
    expect(columns.highs).toEqual([null, [7, 6]]);
    const { data, bands, series } = layoutOf(columns);
    expect(data).toEqual([
      [1, 2],
      [10, 30],
      [7, 6],
      [5, 6],
      [5, 6],
    ]);
    expect(bands).toEqual([{ line: 1, high: 2, low: 3 }]);
    expect(series.map(({ isBound }) => isBound)).toEqual([false, true, true, false]);
  });
});

describe('words of a chart', () => {
  it('tell ends and bounds', () => {
    expect(describeLine(line('loss', [1, 2, 3], [9, 2, 4]), String)).toBe('loss: from 9 to 4, between 2 and 9');
    expect(describeLine(line('loss', [], []), String)).toBe('loss: no points yet');
  });

  it('sample both ends', () => {
    expect(sampleIndices(3, 10)).toEqual([0, 1, 2]);
    expect(sampleIndices(101, 5)).toEqual([0, 25, 50, 75, 100]);
    expect(sampleIndices(0, 5)).toEqual([]);
  });
});
