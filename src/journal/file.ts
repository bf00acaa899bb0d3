/**
 * @file A journal in a file: one entry a line, canonical JSON, fsynced before it is reported. Opening checks the hash chain
 * of the whole file, cuts off a last line that a crash tore, and refuses any other damage.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { appendLeaf, frontierRoot, leafHash, type Peak } from '../protocol/merkle.ts';
import { type JournalEntry, journalEntrySchema } from '../protocol/messages.ts';
import type { Hash } from '../protocol/names.ts';
import { describeFault, maxMessageLength } from '../protocol/signing.ts';
import { fromUtf8, toHex, utf8 } from '../util/bytes.ts';
import { canonicalJson, parseStrictJson } from '../util/canonical-json.ts';
import { nodeSha256 } from '../util/node-sha256.ts';
import { writeAll } from '../util/node-write.ts';
import { JournalError } from './errors.ts';
import { type FolderLock, lockFolder } from './folder-lock.ts';
import { checkNext, emptyHead, headAfter, type Journal, type JournalHead } from './port.ts';
import type { TreeHead } from './state.ts';

export const journalFileName = 'journal.jsonl';
const maxLineBytes = 4 * maxMessageLength;
const chunkBytes = 1 << 20;
const lineFeed = 0x0a;

export interface OpenJournalOptions {
  /** Made if it is not there; locked against other processes. */
  readonly folder: string;
  /** A tree head from elsewhere (the ledger) that this journal must contain. */
  readonly anchored?: TreeHead | null;
  /** A copy of entries that are durable elsewhere: what is appended is flushed by `sync` only. */
  readonly isCopy?: boolean;
}

export interface OpenedJournal {
  readonly journal: FileJournal;
  /** Bytes of a torn last line that were cut off; 0 after a clean end. */
  readonly cutBytes: number;
}

/** @throws JournalError LOCKED, DAMAGED, TRUNCATED, TOO_LARGE, IO */
export async function openFileJournal(options: OpenJournalOptions): Promise<OpenedJournal> {
  const lock = await lockFolder(options.folder);
  try {
    return await openLocked(options, lock);
  } catch (error) {
    await lock.release();
    throw error;
  }
}

async function openLocked(
  { folder, anchored, isCopy = false }: OpenJournalOptions,
  lock: FolderLock,
): Promise<OpenedJournal> {
  const path = join(folder, journalFileName);
  await (await open(path, 'a')).close(); // makes it
  const file = await open(path, 'r+');
  try {
    const scan = await scanFile(file, anchored ?? null);
    const { size } = await file.stat();
    const cutBytes = size - scan.offsets.at(-1)!;
    if (cutBytes > 0) await cutTo(file, scan.offsets.at(-1)!);
    return { journal: new FileJournal(file, lock, { ...scan, isCopy }), cutBytes };
  } catch (error) {
    await file.close();
    throw error;
  }
}

interface Scan {
  head: JournalHead;
  /** Where each entry begins, and where the next one will. */
  readonly offsets: number[];
}

async function scanFile(file: FileHandle, anchored: TreeHead | null): Promise<Scan> {
  const scan: Scan = { head: emptyHead, offsets: [0] };
  let peaks: Peak[] = [];
  for await (const line of linesOf(file)) {
    const entry = parseLine(line, scan.head);
    scan.head = headAfter(entry);
    scan.offsets.push(scan.offsets.at(-1)! + line.byteLength + 1);
    if (anchored !== null && anchored.size >= scan.head.size) {
      peaks = appendLeaf(peaks, leafHash(utf8(canonicalJson(entry))));
      if (scan.head.size === anchored.size && toHex(frontierRoot(peaks)) !== anchored.root)
        throw new JournalError(
          'DAMAGED',
          `the first ${anchored.size} entries are not those of the anchored tree head ${anchored.root}; restore a copy`,
        );
    }
  }
  if (anchored === null || scan.head.size >= anchored.size) return scan;
  throw new JournalError(
    'TRUNCATED',
    `the journal has ${scan.head.size} entries, the anchored tree head covers ${anchored.size}; restore a copy`,
    { context: { size: scan.head.size, anchored: anchored.size } },
  );
}

/** Whole lines without their line feeds; bytes after the last line feed are left out. */
async function* linesOf(file: FileHandle): AsyncGenerator<Uint8Array> {
  let carried: Uint8Array[] = [];
  let carriedBytes = 0;
  for (let at = 0; ; ) {
    const { bytesRead, buffer } = await file.read(new Uint8Array(chunkBytes), 0, chunkBytes, at);
    if (bytesRead === 0) return;
    at += bytesRead;
    let from = 0;
    for (let end = buffer.indexOf(lineFeed); end >= 0 && end < bytesRead; end = buffer.indexOf(lineFeed, from)) {
      yield Buffer.concat([...carried, buffer.subarray(from, end)]);
      carried = [];
      carriedBytes = 0;
      from = end + 1;
    }
    carried.push(buffer.subarray(from, bytesRead));
    carriedBytes += bytesRead - from;
    if (carriedBytes > maxLineBytes)
      throw new JournalError('TOO_LARGE', `a line of the journal exceeds ${maxLineBytes} bytes; restore a copy`);
  }
}

function parseLine(line: Uint8Array, head: JournalHead): JournalEntry {
  const damaged = (why: string) =>
    new JournalError('DAMAGED', `line ${head.size + 1} of the journal ${why}; restore a copy`, {
      context: { seq: head.size },
    });
  const json = parseStrictJson(safeText(line), { maxLength: maxLineBytes, maxDepth: 32 });
  if (!json.ok) throw damaged(`is no JSON (${json.sentence})`);
  const entry = journalEntrySchema.safeParse(json.value);
  if (!entry.success) throw damaged(`is no entry (${describeFault(entry.error)})`);
  if (entry.data.seq !== head.size || entry.data.prevHash !== head.hash)
    throw damaged(`does not follow the one before it (entry ${entry.data.seq}, expected ${head.size})`);
  return entry.data;
}

/** Malformed UTF-8 becomes text that is no JSON. */
function safeText(line: Uint8Array): string {
  try {
    return fromUtf8(line);
  } catch {
    return '';
  }
}

async function cutTo(file: FileHandle, sizeBytes: number): Promise<void> {
  await file.truncate(sizeBytes);
  await file.sync();
}

/** Head and lines after entries that follow one another; each is made canonical once. */
function linesAfter(head: JournalHead, entries: readonly JournalEntry[]): [JournalHead, Uint8Array[]] {
  let after = head;
  const lines = entries.map((entry) => {
    checkNext(after, entry);
    const line = utf8(`${canonicalJson(entry)}\n`);
    after = { size: entry.seq + 1, hash: toHex(nodeSha256(line.subarray(0, -1))) as Hash, timeMs: entry.timeMs };
    return line;
  });
  return [after, lines];
}

export class FileJournal implements Journal {
  readonly #file: FileHandle;
  readonly #isCopy: boolean;
  readonly #lock: FolderLock;
  readonly #offsets: number[];
  readonly #handlers = new Set<(entry: JournalEntry) => void>();
  #head: JournalHead;
  #queue: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(file: FileHandle, lock: FolderLock, scan: Scan & { readonly isCopy: boolean }) {
    this.#file = file;
    this.#isCopy = scan.isCopy;
    this.#lock = lock;
    this.#offsets = scan.offsets;
    this.#head = scan.head;
  }

  get head(): JournalHead {
    return this.#head;
  }

  append(entry: JournalEntry): Promise<void> {
    return this.appendAll([entry]);
  }

  /** With one write and one flush. A crash in it leaves a beginning of them. */
  appendAll(entries: readonly JournalEntry[]): Promise<void> {
    const done = this.#queue.then(() => this.#append(entries));
    this.#queue = done.catch(() => {}); // the caller has the failure
    return done;
  }

  async #append(entries: readonly JournalEntry[]): Promise<void> {
    if (this.#isClosed) throw new JournalError('CLOSED', 'the journal is closed');
    const [head, lines] = linesAfter(this.#head, entries);
    const start = this.#offsets.at(-1)!;
    await this.#checkAlone(start);
    try {
      await writeAll(this.#file, lines.length === 1 ? lines[0]! : Buffer.concat(lines), start);
      if (!this.#isCopy) await this.#file.datasync();
    } catch (error) {
      await cutTo(this.#file, start).catch(() => {}); // the next opening cuts it off
      const code = (error as { code?: string }).code === 'ENOSPC' ? 'DISK_FULL' : 'IO';
      const sentence = `entries from ${entries[0]?.seq} on were not written: ${(error as Error).message}`;
      throw new JournalError(code, sentence, { cause: error });
    }
    for (const { byteLength } of lines) this.#offsets.push(this.#offsets.at(-1)! + byteLength);
    this.#head = head;
    for (const entry of entries) for (const handler of this.#handlers) handler(entry);
  }

  /** A copy's entries are on the disk when it resolves. */
  async sync(): Promise<void> {
    await this.#queue;
    if (this.#isCopy && !this.#isClosed) await this.#file.datasync();
  }

  /** Another process that took the lock over may have written. */
  async #checkAlone(expectedBytes: number): Promise<void> {
    const { size } = await this.#file.stat();
    if (size === expectedBytes && !this.#lock.isLost) return;
    throw new JournalError('LOCKED', 'another process took over the folder of this journal; this one must stop');
  }

  async read(from: number, limit: number): Promise<JournalEntry[]> {
    const to = Math.min(from + limit, this.#offsets.length - 1);
    if (from >= to) return [];
    const start = this.#offsets[from]!;
    const bytes = new Uint8Array(this.#offsets[to]! - start);
    const { bytesRead } = await this.#file.read(bytes, 0, bytes.byteLength, start);
    if (bytesRead !== bytes.byteLength)
      throw new JournalError('DAMAGED', `entries ${from} to ${to} are no longer in the file; restore a copy`);
    const lines = fromUtf8(bytes).split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line) as JournalEntry);
  }

  follow(handler: (entry: JournalEntry) => void): () => void {
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    await this.#queue;
    await this.sync().catch(() => {}); // a copy is made again
    this.#isClosed = true;
    this.#handlers.clear();
    await this.#file.close();
    await this.#lock.release();
  }
}
