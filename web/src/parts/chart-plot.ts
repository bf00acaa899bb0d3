/** @file One uPlot: options from our tokens, marks of releases and phases, zoom by drag. No text of it is read out: `chart.tsx` does that. */
import uPlot from 'uplot';
import { short } from '../format/numbers.ts';
import type { ChartAxis, ChartColumns, ChartMark } from './chart-data.ts';

export interface PlotOptions {
  readonly width: number;
  readonly height: number;
  readonly axis: ChartAxis;
  readonly isLogY: boolean;
  readonly format: (value: number) => string;
  readonly labels: readonly string[];
  readonly onCursor: (index: number | null) => void;
  readonly onZoom: (range: readonly [number, number] | null) => void;
  /** Read at each drawing: they change without a new plot. */
  readonly marks: () => readonly ChartMark[];
}

export const seriesColors = 6;
const token = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const font = '11px ui-sans-serif, system-ui, "Segoe UI", sans-serif';

export function makePlot(place: HTMLElement, columns: ChartColumns, options: PlotOptions): uPlot {
  const layout = layoutOf(columns);
  const ink = token('--ink-3');
  const grid = { stroke: token('--grid'), width: 1 };
  const colors = Array.from({ length: seriesColors }, (_, i) => token(`--series-${i + 1}`));
  const plot = new uPlot(
    {
      width: options.width,
      height: options.height,
      padding: [14, 14, 0, 0],
      legend: { show: false },
      cursor: { drag: { x: true, y: false, setScale: true, dist: 6 }, points: { size: 6 }, y: false },
      scales: {
        x: { time: options.axis === 'time' },
        y: options.isLogY ? { distr: 3 } : { range: (_, low, high) => paddedRange(low, high) },
      },
      axes: [
        {
          stroke: ink,
          font,
          grid: { show: false },
          ticks: { stroke: token('--line-strong'), width: 1, size: 4 },
          size: 30,
          ...(options.axis === 'tokens' && { values: (_: uPlot, splits: number[]) => splits.map((v) => short(v)) }),
          ...(options.axis === 'time' && { values: clockValues }),
          ...(options.axis === 'hours' && { values: (_: uPlot, splits: number[]) => splits.map(hourText) }),
          ...(options.axis === 'days' && { values: (_: uPlot, splits: number[]) => splits.map(dayText) }),
        },
        {
          stroke: ink,
          font,
          grid,
          ticks: { show: false },
          size: (_, values) => sizeOf(values),
          gap: 4,
          values: (_, splits) => splits.map((v) => (v === null ? '' : options.format(v))),
        },
      ],
      series: [
        {},
        ...layout.series.map(({ line, isBound }) =>
          styleOf(options.labels[line] ?? '', colors[line % seriesColors]!, isBound),
        ),
      ],
      bands: layout.bands.map(({ high, low, line }) => ({
        series: [high, low] as [number, number],
        fill: `${colors[line % seriesColors]}26`,
      })),
      hooks: {
        setCursor: [(u) => options.onCursor(u.cursor.idx ?? null)],
        setScale: [(u, key) => key === 'x' && options.onZoom(zoomOf(u))],
        draw: [(u) => drawMarks(u, options, { release: ink, phase: token('--accent') })],
      },
    },
    layout.data,
    place,
  );
  return plot;
}

/** Of a virtual clock. */
export const hourText = (hours: number): string => `${Number(hours.toFixed(3))} h`;
export const dayText = (days: number): string => `day ${Number(days.toFixed(2))}`;

/** Room for the longest label; none is cut. */
const sizeOf = (values: readonly string[] | null): number =>
  Math.max(54, 12 + 6.5 * Math.max(0, ...(values ?? []).map((text) => text.length)));

/** Columns in uPlot's order: each line, then its bounds. */
export function layoutOf({ x, values, lows, highs }: ChartColumns) {
  const data: (number | null)[][] = [x];
  const series: { line: number; isBound: boolean }[] = [];
  const bands: { line: number; high: number; low: number }[] = [];
  for (const [line, value] of values.entries()) {
    if (highs[line] && lows[line]) {
      bands.push({ line, high: data.length, low: data.length + 1 });
      data.push(highs[line]!, lows[line]!);
      series.push({ line, isBound: true }, { line, isBound: true });
    }
    data.push(value);
    series.push({ line, isBound: false });
  }
  return { data: data as unknown as uPlot.AlignedData, series, bands };
}

const styleOf = (label: string, color: string, isBound: boolean): uPlot.Series => ({
  label,
  stroke: isBound ? 'transparent' : color,
  width: isBound ? 0 : 1.5,
  spanGaps: true,
  points: isBound
    ? { show: false }
    : { show: (u, i) => Array.from(u.data[i]!).filter((v) => v != null).length < 24, size: 5, fill: color },
});

function paddedRange(low: number | null, high: number | null): [number, number] {
  if (low === null || high === null) return [0, 1];
  const room = (high - low) * 0.08 || Math.abs(high) * 0.05 || 1;
  return [low >= 0 ? Math.max(0, low - room) : low - room, high + room];
}

/** 24 hours, without uPlot's year below the first tick. */
const clockValues = (_: uPlot, splits: number[]): string[] => {
  const span = splits.at(-1)! - splits[0]!;
  const format = new Intl.DateTimeFormat(undefined, {
    ...(span > 2 * 86_400 ? { month: 'short', day: 'numeric' } : { hour: '2-digit', minute: '2-digit', hour12: false }),
    ...(span < 300 && { second: '2-digit' }),
  });
  return splits.map((seconds) => format.format(seconds * 1_000));
};

function zoomOf(u: uPlot): readonly [number, number] | null {
  const x = u.data[0];
  const { min, max } = u.scales.x!;
  if (x.length === 0 || min == null || max == null) return null;
  return min <= x[0]! && max >= x.at(-1)! ? null : [min, max];
}

function drawMarks(u: uPlot, options: PlotOptions, colors: { release: string; phase: string }): void {
  const { ctx, bbox } = u;
  const { min, max } = u.scales.x!;
  if (min == null || max == null) return;
  ctx.save();
  ctx.font = font.replace('11px', `${10 * devicePixelRatio}px`);
  ctx.textBaseline = 'bottom';
  const taken: [number, number][] = [];
  const gap = 8 * devicePixelRatio;
  // Phases first: their names matter more than a release's number.
  for (const mark of options.marks().toSorted((a, b) => Number(b.kind === 'phase') - Number(a.kind === 'phase'))) {
    if (options.axis === 'hours' || options.axis === 'days') continue; // marks are of a run, and no run has this clock
    const value = options.axis === 'time' ? mark.atMs / 1_000 : mark.countedTokens;
    if (value < min || value > max) continue;
    const x = Math.round(u.valToPos(value, 'x', true)) + 0.5;
    ctx.strokeStyle = ctx.fillStyle = colors[mark.kind];
    ctx.globalAlpha = mark.kind === 'phase' ? 0.9 : 0.45;
    ctx.setLineDash(mark.kind === 'phase' ? [] : [2 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.lineWidth = devicePixelRatio;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    const label = mark.kind === 'phase' ? mark.label : `r${mark.index}`;
    const width = ctx.measureText(label).width;
    const middle = Math.min(Math.max(x, bbox.left + width / 2), bbox.left + bbox.width - width / 2);
    // Labels never overlap: of many releases some have a line only.
    if (taken.some(([from, to]) => middle - width / 2 < to + gap && middle + width / 2 > from - gap)) continue;
    ctx.globalAlpha = 1;
    ctx.textAlign = 'center';
    ctx.fillText(label, middle, bbox.top - 2 * devicePixelRatio);
    taken.push([middle - width / 2, middle + width / 2]);
  }
  ctx.restore();
}
