/**
 * @file The record of a run that lies in a folder, as `accrete up` and `accrete orchestrate` leave it. Only read: nothing in it
 * is locked, made, moved or changed, also while the run goes on.
 */
import { createReadStream } from 'node:fs';
import { type FileHandle, open, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { journalFileName } from '../journal/file.ts';
import { LedgerFile } from '../ledger/read-file.ts';
import type { ArtifactRef } from '../protocol/manifest.ts';
import { maxMessageLength } from '../protocol/signing.ts';
import { notFound, sizeMismatch } from '../store/errors.ts';
import { artifactPath } from '../store/fs.ts';
import { hashArtifact } from '../store/node-hash.ts';
import { fromUtf8 } from '../util/bytes.ts';
import { VerifyError } from './errors.ts';
import type { ArtifactAnswer, LedgerRecord, PublicRecord, ReleaseFile } from './record.ts';

const chunkBytes = 1 << 20;
const maxLineBytes = 4 * maxMessageLength;
const lineFeed = 0x0a;

export interface FolderRecordOptions {
  /** A line that is being written is whole after this; 500 by default, 0 where nobody writes. */
  readonly writingMs?: number;
}

export class FolderRecord implements PublicRecord {
  readonly name: string;
  readonly #journal: FileHandle;
  #ledger: LedgerFile | null = null;
  readonly #writingMs: number;
  #readTo = 0;

  private constructor(dir: string, journal: FileHandle, { writingMs = 500 }: FolderRecordOptions) {
    this.name = dir;
    this.#journal = journal;
    this.#writingMs = writingMs;
  }

  /** @throws VerifyError UNREACHABLE if there is no journal in the folder */
  static async open(dir: string, options: FolderRecordOptions = {}): Promise<FolderRecord> {
    const journal = await open(join(dir, journalFileName), 'r').catch((cause) => {
      const sentence = `${dir}: no run lies there (${journalFileName} cannot be read: ${codeOf(cause)}); give the folder of a run or the URL of its orchestrator`;
      throw new VerifyError('UNREACHABLE', sentence, { cause });
    });
    return new FolderRecord(dir, journal, options);
  }

  async *journal(from: number): AsyncGenerator<readonly string[]> {
    let rest = Buffer.alloc(0);
    if (from === 0) this.#readTo = 0;
    for (let at = this.#readTo; ; ) {
      const { bytesRead, buffer } = await this.#journal.read(Buffer.alloc(chunkBytes), 0, chunkBytes, at);
      if (bytesRead === 0) return;
      at += bytesRead;
      rest = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
      const end = rest.lastIndexOf(lineFeed) + 1;
      if (rest.byteLength - end > maxLineBytes)
        throw new VerifyError('UNREADABLE', `${this.name}: a line of the journal exceeds ${maxLineBytes} bytes`);
      if (end === 0) continue;
      const lines = textOf(rest.subarray(0, end - 1)).split('\n');
      rest = rest.subarray(end);
      this.#readTo = at - rest.byteLength;
      yield lines;
    }
  }

  /** A line that a running orchestrator is writing is no tear: it grows. */
  async tornBytes(): Promise<number> {
    const { size } = await this.#journal.stat();
    if (size === this.#readTo) return 0;
    await sleep(this.#writingMs);
    const later = await this.#journal.stat();
    return later.size === size ? size - this.#readTo : 0;
  }

  async artifact({ root, sizeBytes }: ArtifactRef): Promise<ArtifactAnswer> {
    const path = artifactPath(join(this.name, 'store'), root);
    const info = await stat(path).catch(missingAsNull);
    if (info === null) return { kind: 'missing' };
    if (info.size !== sizeBytes) return { kind: 'damaged', found: `${info.size} bytes` };
    const bytes = await readFile(path).catch(missingAsNull);
    if (bytes === null) return { kind: 'missing' };
    const found = hashArtifact(bytes);
    if (found.root !== root) return { kind: 'damaged', found: `bytes that hash to ${found.root}` };
    return { kind: 'found', bytes: new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength) };
  }

  async part(
    { root, sizeBytes }: ArtifactRef,
    { from, to }: { readonly from: number; readonly to: number },
  ): Promise<Uint8Array> {
    const file = await open(artifactPath(join(this.name, 'store'), root), 'r').catch(missingAsNull);
    if (file === null) throw notFound(root);
    try {
      const { size } = await file.stat();
      const bytes = new Uint8Array(to - from);
      let filled = 0;
      while (size === sizeBytes && filled < bytes.byteLength) {
        const { bytesRead } = await file.read(bytes, filled, bytes.byteLength - filled, from + filled);
        if (bytesRead === 0) break;
        filled += bytesRead;
      }
      if (filled < bytes.byteLength) throw sizeMismatch(root, sizeBytes, size);
      return bytes;
    } finally {
      await file.close();
    }
  }

  async ledger(): Promise<LedgerRecord | null> {
    this.#ledger ??= await LedgerFile.open(join(this.name, 'ledger'));
    const file = this.#ledger;
    if (file === null) return null;
    return {
      genesis: file.genesis,
      blocks: async (from, limit) =>
        Array.from({ length: limit }, (_, i) => ({ number: from + i, salt: file.salt(from + i), hash: null })),
      calls: (cursor, limit) => file.calls(cursor, limit),
    };
  }

  async releases(): Promise<readonly number[]> {
    const names = (await readdir(join(this.name, 'releases')).catch(missingAsNull)) ?? [];
    const numbers = names.flatMap((name) => /^release-(\d{1,15})$/.exec(name)?.[1] ?? []).map(Number);
    return numbers.sort((a, b) => a - b);
  }

  async releaseFiles(release: number): Promise<readonly ReleaseFile[] | null> {
    const dir = this.#releaseDir(release);
    const names = await readdir(dir).catch(missingAsNull);
    if (names === null) return null;
    const files: ReleaseFile[] = [];
    for (const name of names.sort()) {
      const info = await stat(join(dir, name)).catch(missingAsNull);
      if (info !== null) files.push({ name, sizeBytes: info.size });
    }
    return files;
  }

  releaseBytes(release: number, name: string): AsyncIterable<Uint8Array> {
    return createReadStream(join(this.#releaseDir(release), name), { highWaterMark: chunkBytes });
  }

  async close(): Promise<void> {
    await this.#journal.close();
    await this.#ledger?.close();
  }

  #releaseDir(release: number): string {
    return join(this.name, 'releases', `release-${release}`);
  }
}

const codeOf = (cause: unknown): string => (cause as NodeJS.ErrnoException).code ?? 'unknown';

function missingAsNull(cause: unknown): null {
  if (['ENOENT', 'ENOTDIR'].includes(codeOf(cause))) return null;
  throw cause;
}

/** Malformed UTF-8 becomes text that is no JSON. */
function textOf(bytes: Uint8Array): string {
  try {
    return fromUtf8(bytes);
  } catch {
    return new TextDecoder().decode(bytes);
  }
}
