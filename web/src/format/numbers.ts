/** @file Numbers as people read them: the same width for the same kind, `–` for what is not known. */

export const unknown = '–';
const grouped = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

/** Every digit, in groups: 12,408. */
export const whole = (value: number | null): string => (value === null ? unknown : grouped.format(Math.round(value)));

const steps = [
  ['T', 1e12],
  ['B', 1e9],
  ['M', 1e6],
  ['k', 1e3],
] as const;

/** Three digits that matter: 1.24 M, 983 k, 512. */
export function short(value: number | null): string {
  if (value === null || !Number.isFinite(value)) return unknown;
  const size = Math.abs(value);
  for (const [unit, step] of steps) if (size >= step * 0.9995) return `${threeDigits(value / step)} ${unit}`;
  return size >= 10 || Number.isInteger(value) ? String(Math.round(value)) : threeDigits(value);
}

function threeDigits(value: number): string {
  const size = Math.abs(value);
  return value.toFixed(size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2);
}

export const loss = (value: number | null | undefined): string =>
  value === null || value === undefined ? unknown : value.toFixed(4);

/** 12.3 %, with what is tiny but there told as such. */
export function percent(value: number | null, digits = 1): string {
  if (value === null || !Number.isFinite(value)) return unknown;
  const least = 10 ** -digits;
  const inPercent = value * 100;
  return inPercent > 0 && inPercent < least ? `<${least} %` : `${inPercent.toFixed(digits)} %`;
}

const byteSteps = [
  ['EB', 1e18],
  ['PB', 1e15],
  ['TB', 1e12],
  ['GB', 1e9],
  ['MB', 1e6],
  ['kB', 1e3],
] as const;

export function bytes(value: number | null): string {
  if (value === null) return unknown;
  for (const [unit, step] of byteSteps) if (value >= step) return `${threeDigits(value / step)} ${unit}`;
  return `${threeDigits(value).replace(/\.0+$/, '')} B`;
}

/** A measurement of unknown size: 0.00412, 3.18, 12,408. */
export function measured(value: number | null): string {
  if (value === null || !Number.isFinite(value)) return unknown;
  const size = Math.abs(value);
  if (value === 0) return '0';
  if (Number.isInteger(value)) return grouped.format(value);
  if (size >= 1e5 || size < 1e-3) return value.toExponential(2);
  return value.toPrecision(4);
}

/** The ledger counts in rao: 1e9 are one tao. */
export const tao = (rao: number | null): string => (rao === null ? unknown : `${measured(rao / 1e9)} τ`);

export const shortHash = (hash: string): string => hash.slice(0, 10);
export const shortHotkey = (hotkey: string): string => `${hotkey.slice(0, 6)}…${hotkey.slice(-4)}`;
export const plural = (count: number, one: string, many = `${one}s`): string =>
  `${whole(count)} ${count === 1 ? one : many}`;
