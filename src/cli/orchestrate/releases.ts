/**
 * @file The folders of releases: made by the orchestrator, kept while they are new; `latest` points at the newest. Older ones
 * can be made again from journal and store.
 */
import { mkdirSync, readdirSync } from 'node:fs';
import { rename, rm, symlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { describeFiles, writeRelease } from '../../roles/orchestrator/release-writer.ts';
import type { OrchestratorDeps } from '../../roles/orchestrator/shell.ts';
import type { Store } from '../../store/port.ts';
import type { Log } from '../../util/clock.ts';

const keptFolders = 3;

/** What the orchestrator calls to have a release written; `heads`: the fragments that it is made of. */
export function releaseFolders(dir: string, store: Store, log: Log): OrchestratorDeps['writeRelease'] {
  mkdirSync(dir, { recursive: true });
  return async (run, release, heads) => {
    const folder = await writeRelease(run, release, { dir, store, heads });
    await pointLatest(dir, folder, log);
    await removeOld(dir);
    return { folder, files: await describeFiles(folder) };
  };
}

/** By rename, so that it always points somewhere. Systems without links for users do without it. */
async function pointLatest(dir: string, folder: string, log: Log): Promise<void> {
  const temporary = join(dir, `.latest-${process.pid}`);
  try {
    await rm(temporary, { force: true });
    await symlink(basename(folder), temporary);
    await rename(temporary, join(dir, 'latest'));
  } catch (error) {
    await rm(temporary, { force: true });
    log.debug('no link to the newest release', { error });
  }
}

async function removeOld(dir: string): Promise<void> {
  const numbers = readdirSync(dir).flatMap((name) => /^release-(\d+)$/.exec(name)?.[1] ?? []);
  const old = numbers.map(Number).sort((a, b) => b - a);
  for (const number of old.slice(keptFolders))
    await rm(join(dir, `release-${number}`), { recursive: true, force: true });
}
