/** @file Curves of schedules in a terminal. */
import asciichart from 'asciichart';
import type { PhaseOutline } from '../../roles/run-outline.ts';
import { formatShort } from '../output.ts';

const height = 8;
const labelWidth = 10;

/** All phases side by side, each as wide as its share of the tokens, a tenth and its name at least. */
export function drawSchedules(phases: readonly PhaseOutline[], width: number): string[] {
  const widths = widthsOf(phases, Math.max(20, width - labelWidth - 3));
  const curve = (of: (phase: PhaseOutline) => readonly number[]): number[] =>
    phases.flatMap((phase, i) => resample(of(phase), widths[i]!));
  const names = phases.map(({ name }, i) => name.slice(0, widths[i]! - 1).padEnd(widths[i]!)).join('');
  const batches = curve(({ batchSequences }) => batchSequences);
  return [
    'learning rate',
    ...plot(
      curve(({ learningRate }) => learningRate),
      (rate) => rate.toExponential(1),
    ),
    ' '.repeat(labelWidth + 2) + names,
    ...(new Set(batches).size < 2
      ? []
      : [
          '',
          'sequences of a step',
          ...plot(batches, (count) => (count < 100 ? count.toFixed(1) : formatShort(count))),
        ]),
  ];
}

function widthsOf(phases: readonly PhaseOutline[], width: number): number[] {
  const total = phases.reduce((sum, { targetTokens }) => sum + targetTokens, 0);
  const shares = phases.map(({ targetTokens }) => Math.max(0.1, targetTokens / total));
  const sum = shares.reduce((whole, share) => whole + share, 0);
  return shares.map((share, i) =>
    Math.max(
      Math.min(phases[i]!.name.length + 1, Math.floor(width / phases.length)),
      Math.round((share / sum) * width),
    ),
  );
}

const resample = (values: readonly number[], count: number): number[] =>
  Array.from({ length: count }, (_, i) => values[Math.round((i * (values.length - 1)) / Math.max(1, count - 1))]!);

/** The library scales by the range: a flat curve gets one of its own. */
function plot(values: readonly number[], label: (value: number) => string): string[] {
  const [min, max] = [Math.min(...values), Math.max(...values)];
  const flat = min === max ? { min: 0, max: max === 0 ? 1 : 2 * max } : {};
  const format = (value: number): string => label(value).padStart(labelWidth);
  return asciichart
    .plot([...values], { height, offset: 2, format, ...flat })
    .split('\n')
    .map((line) => line.trimEnd());
}
