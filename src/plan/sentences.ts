/** @file Numbers as the sentences of a plan say them. */

/** 661900000000 → `662 GB`: decimal, as links and disks are sold. */
export function sayBytes(bytes: number): string {
  for (const [limit, unit] of [
    [1e18, 'EB'],
    [1e15, 'PB'],
    [1e12, 'TB'],
    [1e9, 'GB'],
    [1e6, 'MB'],
    [1e3, 'kB'],
  ] as const)
    if (bytes >= limit) return `${Number((bytes / limit).toPrecision(3))} ${unit}`;
  return `${Math.round(bytes)} B`;
}

export const sayRate = (mbps: number): string =>
  mbps >= 1e6
    ? `${Number((mbps / 1e6).toPrecision(3))} Tbit/s`
    : mbps >= 1e3
      ? `${Number((mbps / 1e3).toPrecision(3))} Gbit/s`
      : `${Number(mbps.toPrecision(3))} Mbit/s`;

export function saySeconds(seconds: number): string {
  const of = (value: number, unit: string): string => `${Number(value.toPrecision(3))} ${unit}`;
  if (seconds < 120) return of(seconds, 's');
  if (seconds < 7_200) return of(seconds / 60, 'min');
  return seconds < 172_800 ? of(seconds / 3_600, 'h') : of(seconds / 86_400, 'days');
}
