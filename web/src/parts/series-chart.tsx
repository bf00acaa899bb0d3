/** @file A chart of one series of the API: asks for it, asks for finer points where the reader zooms in, and puts both together. */
import { useSignal } from '@preact/signals';
import { useMemo } from 'preact/hooks';
import type { ApiSeries, SeriesMetric } from '../../../src/protocol/api/training.ts';
import { useAnswer } from '../api/answers.ts';
import { Chart } from './chart.tsx';
import type { ChartAxis, ChartLine } from './chart-data.ts';
import { EmptyState, Show } from './states.tsx';

export interface SeriesChartProps {
  readonly metric: SeriesMetric;
  readonly title: string;
  readonly axis: ChartAxis;
  readonly format: (value: number) => string;
  /** Which lines, and what they are called; null leaves one out. Default: all, by their own names. */
  readonly label?: (name: string) => string | null;
  readonly empty: string;
  readonly height?: number;
  readonly isLogY?: boolean;
  readonly points?: number;
}

type SeriesLine = ApiSeries['lines'][number];

export function SeriesChart({
  metric,
  title,
  axis,
  format,
  label,
  empty,
  height,
  isLogY,
  points = 500,
}: SeriesChartProps) {
  const zoomed = useSignal<readonly [number, number] | null>(null);
  const whole = useAnswer('series', { params: { metric }, query: { points }, everyMs: 5_000 });
  const part = useAnswer('series', {
    params: { metric },
    query: windowOf(axis, zoomed.value, points),
    isWanted: zoomed.value !== null && (whole.data?.sampleCount ?? 0) > points,
  }).data;
  const lines = useMemo(
    () =>
      whole.data === null ? [] : chosenLines(whole.data.lines, part?.lines ?? [], { axis, range: zoomed.value, label }),
    [whole.data, part, axis, label],
  );
  return (
    <Show of={whole} lines={5}>
      {({ marks }) =>
        lines.some(({ value }) => value.length > 0) ? (
          <Chart
            {...{ title, axis, format, lines, marks }}
            {...(height !== undefined && { height })}
            {...(isLogY !== undefined && { isLogY })}
            onZoom={(range) => (zoomed.value = range)}
          />
        ) : (
          <EmptyState title="Nothing to draw yet">{empty}</EmptyState>
        )
      }
    </Show>
  );
}

function windowOf(axis: ChartAxis, range: readonly [number, number] | null, points: number): Record<string, number> {
  if (range === null) return { points };
  const [from, to] = [Math.max(0, Math.floor(range[0])), Math.max(0, Math.ceil(range[1]))];
  return axis === 'time' ? { points, fromMs: from, toMs: to } : { points, fromTokens: from, toTokens: to };
}

interface Choice {
  readonly axis: ChartAxis;
  readonly range: readonly [number, number] | null;
  readonly label: SeriesChartProps['label'];
}

function chosenLines(
  whole: readonly SeriesLine[],
  part: readonly SeriesLine[],
  { axis, range, label }: Choice,
): ChartLine[] {
  return whole.flatMap((line) => {
    const name = label === undefined ? line.name : label(line.name);
    if (name === null) return [];
    const finer = range === null ? undefined : part.find((each) => each.name === line.name);
    return [{ ...(finer === undefined ? line : spliced(line, finer, axis, range!)), label: name }];
  });
}

const columnNames = ['atMs', 'countedTokens', 'value', 'low', 'high'] as const;

/** `line` outside of the window, `finer` within it. */
function spliced(
  line: SeriesLine,
  finer: SeriesLine,
  axis: ChartAxis,
  [from, to]: readonly [number, number],
): SeriesLine {
  const x = axis === 'time' ? line.atMs : line.countedTokens;
  const first = x.findIndex((v) => v >= from);
  const after = x.findIndex((v) => v > to);
  const result = { ...line };
  for (const name of columnNames)
    result[name] = [
      ...line[name].slice(0, first < 0 ? x.length : first),
      ...finer[name],
      ...(after < 0 ? [] : line[name].slice(after)),
    ];
  return result;
}
