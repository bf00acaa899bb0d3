/** @file Finds the newest checkpoint folder of a run. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** `releases/release-N` with the greatest N that is whole, in any of the folders; null if there is none. */
export function newestRelease(dirs: readonly string[]): string | null {
  let newest: { readonly number: number; readonly folder: string } | null = null;
  for (const dir of dirs)
    for (const found of releasesIn(join(dir, 'releases')))
      if (newest === null || found.number > newest.number) newest = found;
  return newest?.folder ?? null;
}

function releasesIn(releases: string): { readonly number: number; readonly folder: string }[] {
  if (!existsSync(releases)) return [];
  return readdirSync(releases).flatMap((name) => {
    const number = /^release-(\d+)$/.exec(name)?.[1];
    const folder = join(releases, name);
    return number !== undefined && existsSync(join(folder, 'config.json')) ? [{ number: Number(number), folder }] : [];
  });
}
