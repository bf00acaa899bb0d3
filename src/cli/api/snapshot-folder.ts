/** @file A snapshot in a folder that a web server can host: answers, the journal, and the dashboard's files beside them. */
import { copyFile, cp, mkdir, rename, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type SnapshotOptions, writeSnapshot } from '../../http/api/snapshot.ts';
import type { ApiSources } from '../../http/api/sources.ts';
import { journalFileName } from '../../journal/file.ts';
import type { ApiSnapshot } from '../../protocol/api/snapshot.ts';
import { siteDir } from '../paths.ts';

export interface SnapshotFolderOptions extends Pick<SnapshotOptions, 'merges' | 'claims'> {
  /** Of the run. */
  readonly dir: string;
  readonly out: string;
}

/** Every file is whole at any time: it is written beside its place and renamed. */
export async function writeSnapshotFolder(
  sources: ApiSources,
  { dir, out, ...bounds }: SnapshotFolderOptions,
): Promise<ApiSnapshot> {
  await mkdir(out, { recursive: true });
  if (await isThere(join(siteDir, 'index.html'))) await cp(siteDir, out, { recursive: true });
  const journal = join(dir, journalFileName);
  const hasJournal = await isThere(journal);
  if (hasJournal) await placed(join(out, journalFileName), (temporary) => copyFile(journal, temporary));
  return writeSnapshot(sources, {
    ...bounds,
    journalPath: hasJournal ? journalFileName : null,
    write: (path, text) => placed(join(out, path), (temporary) => writeFile(temporary, text)),
  });
}

async function placed(path: string, make: (temporary: string) => Promise<void>): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  await mkdir(dirname(path), { recursive: true });
  await make(temporary);
  await rename(temporary, path);
}

const isThere = async (path: string): Promise<boolean> => (await stat(path).catch(() => null))?.isFile() === true;
