/**
 * @file A chart with everything around it: legend with the values under the cursor, zoom by drag, buttons and keys, a summary in
 * words for who cannot see it, and the numbers as a table.
 */
import { useSignal } from '@preact/signals';
import 'uplot/dist/uPlot.min.css';
import { useEffect, useId, useMemo, useRef } from 'preact/hooks';
import type uPlot from 'uplot';
import { short } from '../format/numbers.ts';
import { clockTime, dateTime } from '../format/time.ts';
import { themeChange } from '../theme.ts';
import {
  type ChartAxis,
  type ChartLine,
  type ChartMark,
  columnsOf,
  describeLine,
  sampleIndices,
} from './chart-data.ts';
import { dayText, hourText, layoutOf, makePlot, seriesColors } from './chart-plot.ts';

export interface ChartProps {
  readonly title: string;
  readonly lines: readonly ChartLine[];
  readonly axis: ChartAxis;
  readonly format: (value: number) => string;
  readonly marks?: readonly ChartMark[];
  readonly height?: number;
  readonly isLogY?: boolean;
  /** In tokens, or in ms; null: everything. The page may ask for finer points then. */
  readonly onZoom?: (range: readonly [number, number] | null) => void;
}

const tableRows = 40;

export function Chart(props: ChartProps) {
  const { title, lines, axis, format, height = 220, marks = [] } = props;
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef(props);
  latest.current = props;
  const cursor = useSignal<number | null>(null);
  const isZoomed = useSignal(false);
  const summaryId = useId();
  const columns = useMemo(() => columnsOf(lines, axis), [lines, axis]);
  const shape = `${axis}|${props.isLogY}|${lines.map(({ label }) => label).join('|')}|${columns.lows.map((c) => (c ? 1 : 0)).join('')}`;

  useEffect(() => {
    const box = place.current!;
    const made = makePlot(box, columns, {
      ...{ width: box.clientWidth, height, axis, format, isLogY: props.isLogY ?? false },
      labels: lines.map(({ label }) => label),
      marks: () => latest.current.marks ?? [],
      onCursor: (index) => (cursor.value = index),
      onZoom: (range) => {
        if (isZoomed.peek() === (range !== null) && range === null) return;
        isZoomed.value = range !== null;
        latest.current.onZoom?.(range === null ? null : axis === 'time' ? [range[0] * 1_000, range[1] * 1_000] : range);
      },
    });
    plot.current = made;
    const resize = new ResizeObserver(() => made.setSize({ width: box.clientWidth, height }));
    resize.observe(box);
    return () => {
      resize.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [shape, themeChange.value, height]);

  useEffect(() => {
    const u = plot.current;
    if (u === null || u.data[0] === columns.x) return;
    const { min, max } = u.scales.x!;
    u.setData(layoutOf(columns).data, !isZoomed.peek());
    if (isZoomed.peek() && min != null && max != null) u.setScale('x', { min, max });
    else u.redraw();
  }, [columns]);

  const at = cursor.value;
  const summary = `${lines.map((line) => describeLine(line, format)).join('; ')}.`;
  return (
    <figure class="chart">
      <div class="chart-head">
        <Legend lines={lines} values={columns.values} at={at} format={format} />
        <span class="chart-where">
          {at !== null && columns.x[at] !== undefined ? whereText(columns.x[at], axis) : ''}
        </span>
      </div>
      {/* biome-ignore lint/a11y/useSemanticElements: a fieldset is for fields; this is one picture that takes keys. */}
      <div
        ref={place}
        class="chart-plot"
        style={{ minHeight: `${height}px` }}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: keys move the cursor and zoom, as the label says.
        tabIndex={0}
        role="group"
        aria-roledescription="chart"
        aria-label={`${title}. Arrow keys move along the line, plus and minus zoom, 0 shows everything.`}
        aria-describedby={summaryId}
        onKeyDown={(event) => onKey(event, plot.current, cursor.peek())}
        onBlur={() => plot.current?.setCursor({ left: -10, top: -10 })}
      />
      <p id={summaryId} class="visually-hidden">
        {summary}
      </p>
      <p class="visually-hidden" aria-live="polite">
        {at !== null && document.activeElement === place.current
          ? readOut(lines, columns.values, columns.x, at, props)
          : ''}
      </p>
      <figcaption class="chart-foot">
        <ZoomButtons plot={plot} isZoomed={isZoomed.value} />
        <DataTable title={title} lines={lines} axis={axis} format={format} marks={marks} />
      </figcaption>
    </figure>
  );
}

const whereText = (x: number, axis: ChartAxis): string =>
  ({
    tokens: () => `${short(x)} tokens`,
    hours: () => hourText(x),
    days: () => dayText(x),
    time: () => dateTime(x * 1_000),
  })[axis]();

type Columns = readonly (readonly (number | null)[])[];

function readOut(
  lines: readonly ChartLine[],
  values: Columns,
  x: readonly number[],
  at: number,
  props: ChartProps,
): string {
  const told = lines.map((line, i) =>
    values[i]?.[at] == null ? '' : `${line.label} ${props.format(values[i]![at]!)}`,
  );
  return `${whereText(x[at]!, props.axis)}: ${told.filter(Boolean).join(', ')}`;
}

function Legend({
  lines,
  values,
  at,
  format,
}: {
  lines: readonly ChartLine[];
  values: Columns;
  at: number | null;
  format: (v: number) => string;
}) {
  return (
    <ul class="legend">
      {lines.map((line, i) => {
        const value = at === null ? line.value.at(-1) : values[i]?.[at];
        return (
          <li key={line.label}>
            <span class={`swatch swatch-${(i % seriesColors) + 1}`} aria-hidden="true" />
            {line.label} <b>{value == null ? '–' : format(value)}</b>
          </li>
        );
      })}
    </ul>
  );
}

function zoom(u: uPlot, factor: number, shift = 0): void {
  const { min, max } = u.scales.x!;
  const x = u.data[0];
  if (min == null || max == null || x.length < 2) return;
  const half = ((max - min) * factor) / 2;
  const middle = (min + max) / 2 + (max - min) * shift;
  const [from, to] = [Math.max(x[0]!, middle - half), Math.min(x.at(-1)!, middle + half)];
  if (to > from) u.setScale('x', { min: from, max: to });
}

const showAll = (u: uPlot): void => u.setScale('x', { min: u.data[0][0]!, max: u.data[0].at(-1)! });

function onKey(event: KeyboardEvent, u: uPlot | null, at: number | null): void {
  if (u === null || u.data[0].length === 0 || event.ctrlKey || event.metaKey || event.altKey) return;
  const last = u.data[0].length - 1;
  const moveTo = (index: number): void => u.setCursor({ left: u.valToPos(u.data[0][index]!, 'x'), top: 10 });
  const keys: Readonly<Record<string, () => void>> = {
    ArrowRight: () => (event.shiftKey ? zoom(u, 1, 0.25) : moveTo(Math.min(last, (at ?? -1) + 1))),
    ArrowLeft: () => (event.shiftKey ? zoom(u, 1, -0.25) : moveTo(Math.max(0, (at ?? last + 1) - 1))),
    Home: () => moveTo(0),
    End: () => moveTo(last),
    '+': () => zoom(u, 0.5),
    '=': () => zoom(u, 0.5),
    '-': () => zoom(u, 2),
    '0': () => showAll(u),
    Escape: () => showAll(u),
  };
  const act = keys[event.key];
  if (act === undefined) return;
  event.preventDefault();
  act();
}

function ZoomButtons({ plot, isZoomed }: { plot: { current: uPlot | null }; isZoomed: boolean }) {
  const withPlot = (act: (u: uPlot) => void) => () => plot.current && act(plot.current);
  return (
    <span class="zoom">
      <button type="button" class="button quiet small" onClick={withPlot((u) => zoom(u, 0.5))} aria-label="Zoom in">
        +
      </button>
      <button type="button" class="button quiet small" onClick={withPlot((u) => zoom(u, 2))} aria-label="Zoom out">
        −
      </button>
      {isZoomed && (
        <button type="button" class="button quiet small" onClick={withPlot(showAll)}>
          show everything
        </button>
      )}
    </span>
  );
}

const axisNames: Readonly<Record<ChartAxis, string>> = {
  tokens: 'Counted tokens',
  time: 'Time',
  hours: 'Virtual hour',
  days: 'Day',
};

const cellText = ({ atMs, countedTokens }: ChartLine, axis: ChartAxis, i: number): string => {
  if (axis === 'tokens') return short(countedTokens[i]!);
  if (axis === 'days') return dayText(atMs[i]! / 86_400_000);
  return axis === 'time' ? clockTime(atMs[i]!) : hourText(atMs[i]! / 3_600_000);
};

function DataTable({
  title,
  lines,
  axis,
  format,
  marks,
}: Pick<ChartProps, 'title' | 'lines' | 'axis' | 'format' | 'marks'>) {
  const isOpen = useSignal(false);
  return (
    <details
      class="chart-table"
      onToggle={(event) => (isOpen.value = (event.currentTarget as HTMLDetailsElement).open)}
    >
      <summary>as a table</summary>
      {isOpen.value && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keys.
        <section class="table-scroll chart-rows" tabIndex={0} aria-label={`${title}, as a table`}>
          {lines.map((line) => (
            <table class="table" key={line.label}>
              <caption>{line.label}</caption>
              <thead>
                <tr>
                  <th>{axisNames[axis]}</th>
                  <th class="number">Value</th>
                </tr>
              </thead>
              <tbody>
                {sampleIndices(line.value.length, tableRows).map((i) => (
                  <tr key={i}>
                    <td>{cellText(line, axis, i)}</td>
                    <td class="number">{format(line.value[i]!)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          ))}
          {marks !== undefined && marks.length > 0 && (
            <p class="faint">
              Marked: {marks.map((m) => `${m.kind} ${m.label} at ${short(m.countedTokens)} tokens`).join(', ')}.
            </p>
          )}
        </section>
      )}
    </details>
  );
}
