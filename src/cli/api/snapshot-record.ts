/**
 * @file The record beside a snapshot's answers, so that its page can verify without a server: the journal as it is, the ledger's
 * public history by pages, the newest releases' files. Blocks are told only as far as journal or calls know them: what lies
 * ahead of them is the beacon's.
 */
import { constants } from 'node:fs';
import { copyFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { journalFileName } from '../../journal/file.ts';
import type { RunState } from '../../journal/state.ts';
import { snapshotLedgerPage, snapshotLedgerPath } from '../../protocol/api/snapshot.ts';
import type { LedgerRecord } from '../../verify/record.ts';

/** Makes a file by writing to a path beside its place, which is then renamed. */
export type Place = (path: string, make: (temporary: string) => Promise<void>) => Promise<void>;
export type WriteText = (path: string, text: string) => Promise<void>;

/** The journal's path below the snapshot; null where there is none. */
export async function copyJournal(dir: string, place: Place): Promise<string | null> {
  const journal = join(dir, journalFileName);
  if (!(await isFile(journal))) return null;
  await place(journalFileName, (temporary) => copyFile(journal, temporary));
  return journalFileName;
}

export async function writeLedger(
  ledger: LedgerRecord,
  { lastBlock, write }: { readonly lastBlock: number; readonly write: WriteText },
): Promise<void> {
  await write(snapshotLedgerPath('genesis'), JSON.stringify(ledger.genesis));
  for (let cursor = 0; ; ) {
    const page = await ledger.calls(cursor, snapshotLedgerPage);
    await write(snapshotLedgerPath('calls', cursor), JSON.stringify(page));
    if (page.calls.length === 0) break;
    cursor = page.next;
  }
  for (let from = 1; ; ) {
    const limit = Math.min(snapshotLedgerPage, lastBlock + 1 - from);
    const blocks = limit <= 0 ? [] : await ledger.blocks(from, limit);
    await write(snapshotLedgerPath('blocks', from), JSON.stringify(blocks));
    if (blocks.length === 0) break;
    from += blocks.length;
  }
}

/** Files that the journal names of the newest releases; what is gone from the folder is left out. */
export async function copyReleases(
  { releases }: RunState,
  { dir, count, place }: { readonly dir: string; readonly count: number; readonly place: Place },
): Promise<number> {
  let copied = 0;
  const newest = count === 0 ? [] : releases.filter(({ files }) => files.length > 0).slice(-count);
  for (const { body, files } of newest)
    for (const { name } of files) {
      const from = join(dir, 'releases', `release-${body.release}`, name);
      if (!(await isFile(from))) continue;
      // Where the file system can, both share their blocks.
      await place(`releases/${body.release}/${name}`, (to) => copyFile(from, to, constants.COPYFILE_FICLONE));
      copied++;
    }
  return copied;
}

export const isFile = async (path: string): Promise<boolean> => (await stat(path).catch(() => null))?.isFile() === true;
