/** @file Ways to falsify a recorded run: bytes of a file, events of the journal (with or without the signers' keys), the ledger. */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nativeEquation } from '../../src/cli/native-ed25519.ts';
import { headAfter, nextEntry } from '../../src/journal/port.ts';
import { ledgerFileName } from '../../src/ledger/file.ts';
import type { Signer } from '../../src/protocol/keys.ts';
import type { ArtifactRef } from '../../src/protocol/manifest.ts';
import type { EventBody, EventKind, JournalEntry } from '../../src/protocol/messages.ts';
import { bindingOfRun, entryHash, signMessage } from '../../src/protocol/signing.ts';
import { artifactPath } from '../../src/store/fs.ts';
import { hashArtifact } from '../../src/store/node-hash.ts';
import { nodeSha256 } from '../../src/util/node-sha256.ts';
import type { Report } from '../../src/verify/findings.ts';
import { FolderRecord, type FolderRecordOptions } from '../../src/verify/folder-record.ts';
import { type VerifyOptions, verifyRecord } from '../../src/verify/verify.ts';

const folders: string[] = [];

export function temporaryFolder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'accrete-verify-'));
  folders.push(dir);
  return dir;
}

export function removeFolders(): void {
  for (const dir of folders.splice(0)) rmSync(dir, { recursive: true, force: true });
}

export function copyOf(dir: string): string {
  const copy = temporaryFolder();
  cpSync(dir, copy, { recursive: true });
  return copy;
}

export const verifyOptions: VerifyOptions = { equation: nativeEquation, sha256: nodeSha256, artifactOf: hashArtifact };

export async function verifyFolder(
  dir: string,
  { writingMs, ...options }: Partial<VerifyOptions> & FolderRecordOptions = {},
): Promise<Report> {
  const record = await FolderRecord.open(dir, writingMs === undefined ? {} : { writingMs });
  try {
    return await verifyRecord(record, { ...verifyOptions, ...options });
  } finally {
    await record.close();
  }
}

export const statusOf = (report: Report, check: string): string =>
  report.checks.find((line) => line.check === check)!.status;
export const summaryOf = (report: Report, check: string): string =>
  report.checks.find((line) => line.check === check)!.summary;

/** Flips one bit in the middle of a file. */
export function flip(path: string): void {
  const bytes = readFileSync(path);
  bytes[bytes.byteLength >> 1]! ^= 1;
  writeFileSync(path, bytes);
}

export const flipArtifact = (dir: string, { root }: ArtifactRef): void => flip(artifactPath(join(dir, 'store'), root));
export const removeArtifact = (dir: string, { root }: ArtifactRef): void =>
  rmSync(artifactPath(join(dir, 'store'), root));

/** Every file below a folder with its bytes. */
export function contentOf(dir: string): ReadonlyMap<string, string> {
  const files = readdirSync(dir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(
    files.map(({ parentPath, name }) => [
      join(parentPath, name),
      hashArtifact(readFileSync(join(parentPath, name))).root,
    ]),
  );
}

export function ofKind<K extends EventKind>(
  entries: readonly JournalEntry[],
  kind: K,
  nth = 0,
): { readonly seq: number; readonly body: EventBody<K>; readonly entry: JournalEntry } {
  const entry = entries.filter(({ message }) => message.kind === kind).at(nth)!;
  return { seq: entry.seq, body: entry.message.body as EventBody<K>, entry };
}

/** Numbers and hashes made right again from `from` on; signatures are left as they are. */
export function chainAgain(entries: readonly JournalEntry[], from: number): JournalEntry[] {
  const chained = entries.slice(0, from);
  for (const entry of entries.slice(from)) {
    const last = chained.at(-1);
    chained.push({ ...entry, seq: chained.length, prevHash: last === undefined ? entry.prevHash : entryHash(last) });
  }
  return chained;
}

/** The entry's body changed and signed by its own signer, as who holds that key could; the chain is made right again. */
export function forge<K extends EventKind>(
  entries: readonly JournalEntry[],
  seq: number,
  signer: Signer,
  change: (body: EventBody<K>) => EventBody<K>,
): JournalEntry[] {
  const { message } = entries[seq]!;
  const context = { ...bindingOfRun(entries[0]!)!, seenHead: message.seenHead };
  const signed = signMessage(signer, message.kind as K, change(message.body as EventBody<K>), context);
  return chainAgain(entries.with(seq, { ...entries[seq]!, message: signed }), seq);
}

/** One more event at the end. */
export function append<K extends EventKind>(
  entries: readonly JournalEntry[],
  kind: K,
  body: EventBody<K>,
  signer: Signer,
): JournalEntry[] {
  const last = entries.at(-1)!;
  const context = { ...bindingOfRun(entries[0]!)!, seenHead: last.message.seenHead };
  return [...entries, nextEntry(headAfter(last), signMessage(signer, kind, body, context), last.timeMs)];
}

/** Changes the line of the ledger's file that `find` picks. */
export function editLedger(
  dir: string,
  find: (line: string) => boolean,
  change: (line: string) => string | null,
): void {
  const path = join(dir, 'ledger', ledgerFileName);
  const lines = readFileSync(path, 'utf8').split('\n');
  const at = lines.findIndex(find);
  const changed = change(lines[at]!);
  writeFileSync(path, (changed === null ? lines.toSpliced(at, 1) : lines.with(at, changed)).join('\n'));
}
