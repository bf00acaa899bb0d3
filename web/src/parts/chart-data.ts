/** @file Lines of a series as the columns that uPlot draws: one x for all, holes where a line has no point there. */
import type { ApiSeries } from '../../../src/protocol/api/training.ts';

/** `hours`, `days`: of a virtual clock, from its start; no time of day. */
export type ChartAxis = 'tokens' | 'time' | 'hours' | 'days';
export type ChartMark = ApiSeries['marks'][number];

export interface ChartLine {
  readonly label: string;
  readonly atMs: readonly number[];
  readonly countedTokens: readonly number[];
  readonly value: readonly number[];
  /** Bounds of what a point stands for; drawn as a band where they differ from it. */
  readonly low?: readonly number[];
  readonly high?: readonly number[];
}

export type Column = (number | null)[];
export interface ChartColumns {
  readonly x: number[];
  /** As the lines are ordered. */
  readonly values: Column[];
  readonly lows: (Column | null)[];
  readonly highs: (Column | null)[];
}

/** uPlot's time is in seconds. */
const unitMs = { time: 1_000, hours: 3_600_000, days: 86_400_000 } as const;
const xOf = (line: ChartLine, axis: ChartAxis, i: number): number =>
  axis === 'tokens' ? line.countedTokens[i]! : line.atMs[i]! / unitMs[axis];

export function columnsOf(lines: readonly ChartLine[], axis: ChartAxis): ChartColumns {
  const x = [...new Set(lines.flatMap((line) => line.value.map((_, i) => xOf(line, axis, i))))].sort((a, b) => a - b);
  const indexOf = new Map(x.map((value, i) => [value, i]));
  const spread = (line: ChartLine, from: readonly number[]): Column => {
    const column: Column = new Array<number | null>(x.length).fill(null);
    for (let i = 0; i < from.length; i++) column[indexOf.get(xOf(line, axis, i))!] = from[i]!;
    return column;
  };
  const hasBand = ({ value, low, high }: ChartLine): boolean =>
    low !== undefined && high !== undefined && value.some((v, i) => low[i] !== v || high[i] !== v);
  return {
    x,
    values: lines.map((line) => spread(line, line.value)),
    lows: lines.map((line) => (hasBand(line) ? spread(line, line.low!) : null)),
    highs: lines.map((line) => (hasBand(line) ? spread(line, line.high!) : null)),
  };
}

/** Where a line begins, ends and lies between: what a reader of the chart sees first, in words. */
export function describeLine(line: ChartLine, format: (value: number) => string): string {
  if (line.value.length === 0) return `${line.label}: no points yet`;
  const least = line.value.reduce((a, b) => Math.min(a, b));
  const most = line.value.reduce((a, b) => Math.max(a, b));
  return `${line.label}: from ${format(line.value[0]!)} to ${format(line.value.at(-1)!)}, between ${format(least)} and ${format(most)}`;
}

/** Evenly spaced indices, both ends included. */
export function sampleIndices(length: number, most: number): number[] {
  if (length <= most) return Array.from({ length }, (_, i) => i);
  return Array.from({ length: most }, (_, i) => Math.round((i * (length - 1)) / (most - 1)));
}
