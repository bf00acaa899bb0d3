/** @file The folders of releases: made by the orchestrator, kept while they are new. Older ones can be made again. */
import { mkdirSync, readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { RunState } from '../../journal/state.ts';
import type { ArtifactRef } from '../../protocol/manifest.ts';
import { writeRelease } from '../../roles/orchestrator/release-writer.ts';
import type { Store } from '../../store/port.ts';

const keptFolders = 3;

/** What the orchestrator calls to have a release written; `heads`: the fragments that it is made of. */
export function releaseFolders(
  dir: string,
  store: Store,
): (run: RunState, release: number, heads: readonly ArtifactRef[]) => Promise<string> {
  mkdirSync(dir, { recursive: true });
  return async (run, release, heads) => {
    const folder = await writeRelease(run, release, { dir, store, heads });
    await removeOld(dir);
    return folder;
  };
}

async function removeOld(dir: string): Promise<void> {
  const numbers = readdirSync(dir).flatMap((name) => /^release-(\d+)$/.exec(name)?.[1] ?? []);
  const old = numbers.map(Number).sort((a, b) => b - a);
  for (const number of old.slice(keptFolders))
    await rm(join(dir, `release-${number}`), { recursive: true, force: true });
}
