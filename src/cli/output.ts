/** @file How numbers and tables are printed. Pure text; colours are added by who prints. */

const unitsOfBytes = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** 1536 → `1.5 KiB`. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < unitsOfBytes.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${unitsOfBytes[unit]}`;
}

/** 1234567 → `1,234,567`. */
export const formatCount = (value: number): string => Math.round(value).toLocaleString('en-US');

export const raoPerTao = 1_000_000_000n;

/** 1250000000 → `1.25 TAO`; cut to so many decimals. */
export function formatTao(rao: number | bigint, decimals = 9): string {
  const amount = BigInt(rao);
  const part = String(amount % raoPerTao)
    .padStart(9, '0')
    .slice(0, decimals)
    .replace(/0+$/, '');
  return `${amount / raoPerTao}${part === '' ? '' : `.${part}`} TAO`;
}

/** 1234567 → `1.23M`; for narrow columns. */
export function formatShort(value: number): string {
  for (const [limit, letter] of [
    [1e12, 'T'],
    [1e9, 'B'],
    [1e6, 'M'],
    [1e4, 'k'],
  ] as const) {
    if (Math.abs(value) >= limit) return `${(value / (letter === 'k' ? 1e3 : limit)).toPrecision(3)}${letter}`;
  }
  return String(Math.round(value));
}

/** 75000 → `1m15s`. */
export function formatDuration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${String(seconds % 60).padStart(2, '0')}s`;
  return `${Math.floor(seconds / 3600)}h${String(Math.floor(seconds / 60) % 60).padStart(2, '0')}m`;
}

export const formatPercent = (share: number): string => `${(share * 100).toFixed(1)}%`;

export const formatLoss = (loss: number | null | undefined): string =>
  loss === null || loss === undefined ? '-' : loss.toFixed(3);

const bars = '▁▂▃▄▅▆▇█';

/** The last values in `width` characters, each the mean of its bucket, scaled to their own range. */
export function sparkline(values: readonly number[], width: number): string {
  const finite = values.filter(Number.isFinite);
  if (finite.length === 0 || width < 1) return '';
  const count = Math.min(width, finite.length);
  const buckets = Array.from({ length: count }, (_, i) => {
    const part = finite.slice(Math.floor((i * finite.length) / count), Math.floor(((i + 1) * finite.length) / count));
    return part.reduce((sum, value) => sum + value, 0) / part.length;
  });
  const low = Math.min(...buckets);
  const span = Math.max(...buckets) - low;
  return buckets.map((value) => bars[span === 0 ? 0 : Math.round(((value - low) / span) * 7)]).join('');
}
