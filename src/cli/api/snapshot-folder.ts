/** @file A snapshot in a folder that a web server can host: answers, the record, and the dashboard's files beside them. */
import { cp, mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type SnapshotOptions, writeSnapshot } from '../../http/api/snapshot.ts';
import type { ApiSnapshot } from '../../protocol/api/snapshot.ts';
import { siteDir } from '../paths.ts';
import type { OpenRecordedRun } from './recorded-run.ts';
import { copyJournal, copyReleases, isFile, type Place, writeLedger } from './snapshot-record.ts';

export interface SnapshotFolderOptions extends Pick<SnapshotOptions, 'merges' | 'claims'> {
  /** Of the run. */
  readonly dir: string;
  readonly out: string;
  /** Newest releases whose files are copied. */
  readonly releases: number;
}

/** Every file is whole at any time: it is written beside its place and renamed. */
export async function writeSnapshotFolder(
  { sources, state, ledger }: Pick<OpenRecordedRun, 'sources' | 'state' | 'ledger'>,
  { dir, out, releases, ...bounds }: SnapshotFolderOptions,
): Promise<ApiSnapshot> {
  const place: Place = (path, make) => placed(join(out, path), make);
  const write = (path: string, text: string): Promise<void> => place(path, (temporary) => writeFile(temporary, text));
  await mkdir(out, { recursive: true });
  if (await isFile(join(siteDir, 'index.html'))) await cp(siteDir, out, { recursive: true });
  const journalPath = await copyJournal(dir, place);
  if (ledger !== null) await writeLedger(ledger, { lastBlock: await ledger.lastBlock(), write });
  await copyReleases(state, { dir, count: releases, place });
  return writeSnapshot(sources, { ...bounds, journalPath, hasLedger: ledger !== null, write });
}

async function placed(path: string, make: (temporary: string) => Promise<void>): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  await mkdir(dirname(path), { recursive: true });
  await make(temporary);
  await rename(temporary, path);
}
