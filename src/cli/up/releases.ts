/** @file Finds the newest checkpoint folder of a run. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** `releases/release-N` with the greatest N that is whole; null if there is none. */
export function newestRelease(dir: string): string | null {
  const releases = join(dir, 'releases');
  if (!existsSync(releases)) return null;
  const numbers = readdirSync(releases).flatMap((name) => {
    const match = /^release-(\d+)$/.exec(name);
    return match !== null && existsSync(join(releases, name, 'config.json')) ? [Number(match[1])] : [];
  });
  return numbers.length === 0 ? null : join(releases, `release-${Math.max(...numbers)}`);
}
