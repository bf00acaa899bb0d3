/** @file Times and durations as people read them. Times are the reader's own; durations have at most two units. */

const clock = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hour12: false,
});
const date = new Intl.DateTimeFormat(undefined, {
  year: 'numeric',
  month: 'short',
  day: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
  hour12: false,
});

export const clockTime = (ms: number): string => clock.format(ms);
export const dateTime = (ms: number): string => date.format(ms);

const units = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1_000],
] as const;

/** `850 ms`, `4.2 s`, `3 min 20 s`, `2 d 4 h`. */
export function duration(ms: number | null): string {
  if (ms === null || !Number.isFinite(ms)) return '–';
  const positive = Math.max(0, ms);
  if (positive < 1_000) return `${Math.round(positive)} ms`;
  if (positive < 10_000) return `${(positive / 1_000).toFixed(1)} s`;
  for (const [i, [unit, size]] of units.entries()) {
    if (positive < size) continue;
    const whole = Math.floor(positive / size);
    const next = units[i + 1];
    if (next === undefined || whole >= 10) return `${whole} ${unit}`;
    const rest = Math.floor((positive - whole * size) / next[1]);
    return rest === 0 ? `${whole} ${unit}` : `${whole} ${unit} ${rest} ${next[0]}`;
  }
  return '0 s';
}

/** One unit, where there is little room: `12 s`, `4 min`, `3 h`. */
export function briefAge(ms: number): string {
  const [unit, size] = units.find(([, each]) => ms >= each) ?? units.at(-1)!;
  return ms < 1_500 ? 'now' : `${Math.floor(ms / size)} ${unit}`;
}

/** Whole seconds at least: an age that ticks must not flicker in tenths. */
export function age(ms: number): string {
  if (ms < 1_500) return 'now';
  return ms < 60_000 ? `${Math.round(ms / 1_000)} s ago` : `${duration(ms)} ago`;
}
