/**
 * @file Where the embedded ledger keeps its lines and its snapshot: a folder (`ledger.jsonl`, append-only, flushed line by
 * line, and `snapshot.json`), or memory. A half-written last line, as a crash leaves it, is cut off on opening.
 */
import { type FileHandle, mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { LedgerError } from './errors.ts';

export const ledgerFileName = 'ledger.jsonl';

export interface LedgerLine {
  readonly text: string;
  /** Bytes of the file up to and with this line. */
  readonly endByte: number;
}

export interface LedgerStorage {
  /** All whole lines from a byte that ends a line (0: the beginning). */
  lines(fromByte: number): AsyncIterable<LedgerLine>;
  /** Lines, all or none, durable once it resolves; gives the new size. On failure: `DISK_FULL`, `UNAVAILABLE`. */
  append(...texts: readonly string[]): Promise<number>;
  readonly sizeBytes: number;
  snapshot(): Promise<string | null>;
  /** Replaces the snapshot atomically. */
  saveSnapshot(text: string): Promise<void>;
  close(): Promise<void>;
}

export class MemoryLedgerStorage implements LedgerStorage {
  readonly #lines: LedgerLine[] = [];
  #snapshot: string | null = null;

  get sizeBytes(): number {
    return this.#lines.at(-1)?.endByte ?? 0;
  }

  async *lines(fromByte: number): AsyncIterable<LedgerLine> {
    yield* this.#lines.filter(({ endByte }) => endByte > fromByte);
  }

  async append(...texts: readonly string[]): Promise<number> {
    for (const text of texts) this.#lines.push({ text, endByte: this.sizeBytes + Buffer.byteLength(text) + 1 });
    return this.sizeBytes;
  }

  async snapshot(): Promise<string | null> {
    return this.#snapshot;
  }

  async saveSnapshot(text: string): Promise<void> {
    this.#snapshot = text;
  }

  async close(): Promise<void> {}
}

export class FileLedgerStorage implements LedgerStorage {
  readonly #dir: string;
  readonly #file: FileHandle;
  #sizeBytes: number;

  private constructor(dir: string, file: FileHandle, sizeBytes: number) {
    this.#dir = dir;
    this.#file = file;
    this.#sizeBytes = sizeBytes;
  }

  /** Opens or makes the folder; one process only (the run folder's lock sees to it). */
  static async open(dir: string): Promise<FileLedgerStorage> {
    try {
      await mkdir(dir, { recursive: true });
      const path = join(dir, ledgerFileName);
      const file = await open(path, 'a+');
      const sizeBytes = await wholeLines(file);
      if (sizeBytes < (await file.stat()).size) {
        await file.truncate(sizeBytes);
        await file.sync();
      }
      return new FileLedgerStorage(dir, file, sizeBytes);
    } catch (cause) {
      throw fileError(dir, cause);
    }
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  async *lines(fromByte: number): AsyncIterable<LedgerLine> {
    let endByte = fromByte;
    let rest = Buffer.alloc(0);
    for await (const chunk of chunksOf(this.#file, fromByte, this.#sizeBytes)) {
      rest = Buffer.concat([rest, chunk]);
      for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
        endByte += end + 1;
        yield { text: rest.toString('utf8', 0, end), endByte };
        rest = rest.subarray(end + 1);
      }
    }
  }

  async append(...texts: readonly string[]): Promise<number> {
    const lines = Buffer.from(texts.map((text) => `${text}\n`).join(''));
    try {
      await this.#file.appendFile(lines);
      await this.#file.datasync();
    } catch (cause) {
      await this.#file.truncate(this.#sizeBytes).catch(() => undefined); // The next open cuts it off as well.
      throw fileError(this.#dir, cause);
    }
    this.#sizeBytes += lines.byteLength;
    return this.#sizeBytes;
  }

  async snapshot(): Promise<string | null> {
    try {
      return await readFile(join(this.#dir, 'snapshot.json'), 'utf8');
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw fileError(this.#dir, cause);
    }
  }

  async saveSnapshot(text: string): Promise<void> {
    const temporary = join(this.#dir, 'snapshot.json.new');
    try {
      const file = await open(temporary, 'w');
      try {
        await file.writeFile(text);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, join(this.#dir, 'snapshot.json'));
    } catch (cause) {
      await rm(temporary, { force: true }).catch(() => undefined);
      throw fileError(this.#dir, cause);
    }
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}

/** Bytes up to and with the last line end. */
async function wholeLines(file: FileHandle): Promise<number> {
  const { size } = await file.stat();
  let whole = 0;
  let at = 0;
  for await (const chunk of chunksOf(file, 0, size)) {
    const last = chunk.lastIndexOf(10);
    if (last >= 0) whole = at + last + 1;
    at += chunk.byteLength;
  }
  return whole;
}

async function* chunksOf(file: FileHandle, from: number, to: number): AsyncIterable<Buffer> {
  for (let at = from; at < to; ) {
    const buffer = Buffer.alloc(Math.min(1 << 20, to - at));
    const { bytesRead } = await file.read(buffer, 0, buffer.byteLength, at);
    if (bytesRead === 0) return;
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

function fileError(dir: string, cause: unknown): LedgerError {
  const { code = 'unknown', message } = cause as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new LedgerError('DISK_FULL', `${dir}: no space left for the ledger; free some and start again`, { cause });
  }
  return new LedgerError('UNAVAILABLE', `${dir}: the ledger's files cannot be used (${message})`, {
    cause,
    context: { dir, code },
    retryable: true,
  });
}
