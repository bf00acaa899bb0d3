/** @file Which checkpoint an operator means: a folder, a file, a run's folder (its newest release or one by number). */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { UsageError } from '../util/errors.ts';
import type { Io } from './io.ts';
import type { Settings } from './settings.ts';
import { newestRelease } from './up/releases.ts';

/** A folder or a GGUF file. What is far away is fetched, checked, and kept below `.accrete/pulled`. @throws UsageError */
export const locateCheckpoint = (settings: Settings, io: Io): Promise<string> =>
  placeOf(settings.text('checkpoint'), { option: 'checkpoint', release: releaseOf(settings) }, io);

/** What `--option` names, as `locateCheckpoint`. @throws UsageError */
export async function placeOf(
  typed: string,
  { option, release }: { readonly option: string; readonly release: number | null },
  io: Io,
): Promise<string> {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(typed)) return (await import('./pull/place.ts')).pullTo(typed, release, io);
  const path = resolve(io.cwd, typed);
  if (!existsSync(path)) throw new UsageError(`--${option}: there is nothing at ${path}; check the path`);
  const isRun = existsSync(join(path, 'releases')) && !existsSync(join(path, 'config.json'));
  if (isRun) return releaseIn(path, { option, release });
  if (release !== null) throw new UsageError(`--release: ${path} is one checkpoint, not a run with releases`);
  return path;
}

export const releaseOf = (settings: Settings): number | null =>
  settings.has('release') ? settings.count('release', { min: 0, max: Number.MAX_SAFE_INTEGER }) : null;

function releaseIn(
  run: string,
  { option, release }: { readonly option: string; readonly release: number | null },
): string {
  const newest = newestRelease(run);
  if (newest === null) throw new UsageError(`--${option}: ${run} holds no release yet; wait for the first`);
  if (release === null) return newest;
  const folder = join(run, 'releases', `release-${release}`);
  if (existsSync(join(folder, 'config.json'))) return folder;
  throw new UsageError(`--release: ${run} holds no release ${release} (any more); the newest is ${newest}`);
}
