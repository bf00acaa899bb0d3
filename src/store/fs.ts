/**
 * @file The store as a folder: `artifacts/ab/cd/<root>`, written under a temporary name, flushed, then renamed; so an
 * artifact is whole or not there. What is found damaged when read is set aside, so that it can be written again.
 */
import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, stat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ArtifactRef } from '../protocol/manifest.ts';
import type { Hash } from '../protocol/names.ts';
import { hashMismatch, notFound, StoreError, sizeMismatch } from './errors.ts';
import { ArtifactHasher, checkArtifact, hashArtifact } from './node-hash.ts';
import type { ArtifactWriter, Store, StoreParts } from './port.ts';

export interface FsStoreOptions {
  /** Disk space that a write must leave free. */
  readonly minFreeBytes?: number;
}

/** Temporary files of a crashed process are removed when they are this old: another process may be writing. */
const staleTemporaryMs = 3_600_000;

/** What goes to and comes from the disk at once: a call for each 64 KiB of a socket costs more than the bytes. */
const blockBytes = 1 << 20;

/** Where an artifact lies in the store's folder. */
export const artifactPath = (dir: string, root: Hash): string =>
  join(dir, 'artifacts', root.slice(0, 2), root.slice(2, 4), root);

export class FsStore implements Store {
  readonly #dir: string;
  readonly #minFreeBytes: number;

  private constructor(dir: string, options: FsStoreOptions) {
    this.#dir = dir;
    this.#minFreeBytes = options.minFreeBytes ?? 64 * 1024 * 1024;
  }

  /** Opens or makes the folder. */
  static async open(dir: string, options: FsStoreOptions = {}): Promise<FsStore> {
    const store = new FsStore(dir, options);
    try {
      await mkdir(store.#temporaryDir, { recursive: true });
      await mkdir(join(dir, 'artifacts'), { recursive: true });
      await store.#removeStale();
    } catch (cause) {
      throw storeErrorOf(dir, cause);
    }
    return store;
  }

  async put(expected: ArtifactRef, bytes: Uint8Array, options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    // `write` hashes what it writes, but does not look at bytes that are there already.
    if ((await this.stat(expected.root)) === expected.sizeBytes) checkArtifact(expected, bytes);
    await this.write(expected, [bytes], options);
  }

  /**
   * `put` of bytes that come in chunks, with memory for one chunk only. Ends with `SIZE_MISMATCH` as soon as there are too
   * many bytes; an artifact that is there already is not written again, and its chunks are not read.
   */
  async write(
    expected: ArtifactRef,
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<void> {
    options.signal?.throwIfAborted();
    if ((await this.stat(expected.root)) === expected.sizeBytes) return;
    await this.#requireSpace(expected.root, expected.sizeBytes);
    const temporary = join(this.#temporaryDir, `${expected.root}.${randomUUID()}`);
    try {
      const file = await open(temporary, 'wx');
      try {
        await writeChecked(file, expected, chunks, options.signal);
        await file.sync();
      } finally {
        await file.close();
      }
      await this.#place(temporary, expected.root);
    } catch (cause) {
      await rm(temporary, { force: true });
      throw storeErrorOf(expected.root, cause);
    }
  }

  readonly parts: StoreParts = {
    read: (artifact, range, options) => this.#readPart(artifact, range, options?.signal),
    create: (sizeBytes) => this.#create(sizeBytes),
  };

  async get(artifact: ArtifactRef, options: { readonly signal?: AbortSignal } = {}): Promise<Uint8Array> {
    const { root, sizeBytes } = artifact;
    options.signal?.throwIfAborted();
    const actual = await this.stat(root);
    if (actual === null) throw notFound(root);
    if (actual !== sizeBytes) throw sizeMismatch(root, sizeBytes, actual);
    try {
      const bytes = await readFile(this.#pathOf(root), options);
      const found = hashArtifact(bytes);
      if (found.root === root) return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      await rename(this.#pathOf(root), `${this.#pathOf(root)}.damaged`);
      throw hashMismatch(root, found.root);
    } catch (cause) {
      options.signal?.throwIfAborted();
      throw storeErrorOf(root, cause);
    }
  }

  /** The bytes [from, to) as they lie on the disk, unchecked: for handing on to a reader who checks. */
  read(root: Hash, range: { readonly from: number; readonly to: number }): AsyncIterable<Buffer> {
    if (range.to <= range.from) return noBytes();
    return createReadStream(this.#pathOf(root), {
      start: range.from,
      end: range.to - 1,
      highWaterMark: blockBytes,
    });
  }

  async stat(root: Hash): Promise<number | null> {
    try {
      return (await stat(this.#pathOf(root))).size;
    } catch (cause) {
      if (isMissing(cause)) return null;
      throw storeErrorOf(root, cause);
    }
  }

  async remove(root: Hash): Promise<boolean> {
    try {
      await rm(this.#pathOf(root));
      return true;
    } catch (cause) {
      if (isMissing(cause)) return false;
      throw storeErrorOf(root, cause);
    }
  }

  async #readPart(
    { root, sizeBytes }: ArtifactRef,
    { from, to }: { readonly from: number; readonly to: number },
    signal: AbortSignal | undefined,
  ): Promise<Uint8Array> {
    signal?.throwIfAborted();
    try {
      const file = await open(this.#pathOf(root), 'r');
      try {
        const { size } = await file.stat();
        if (size !== sizeBytes) throw sizeMismatch(root, sizeBytes, size);
        const bytes = new Uint8Array(to - from);
        for (let filled = 0; filled < bytes.byteLength; ) {
          const { bytesRead } = await file.read(bytes, filled, bytes.byteLength - filled, from + filled);
          if (bytesRead === 0) throw sizeMismatch(root, sizeBytes, from + filled);
          filled += bytesRead;
        }
        return bytes;
      } finally {
        await file.close();
      }
    } catch (cause) {
      throw storeErrorOf(root, cause);
    }
  }

  async #create(sizeBytes: number): Promise<ArtifactWriter> {
    const what = 'an artifact that is being written';
    await this.#requireSpace(what, sizeBytes);
    const temporary = join(this.#temporaryDir, `unnamed.${randomUUID()}`);
    const file = await open(temporary, 'wx').catch((cause) => {
      throw storeErrorOf(what, cause);
    });
    const hasher = new ArtifactHasher();
    const abort = async (): Promise<void> => {
      await file.close();
      await rm(temporary, { force: true });
    };
    const guarded = async <T>(work: () => Promise<T>): Promise<T> => {
      try {
        return await work();
      } catch (cause) {
        throw storeErrorOf(what, cause);
      }
    };
    return {
      write: (bytes) =>
        guarded(async () => {
          hasher.update(bytes);
          await file.writeFile(bytes);
        }),
      finish: () =>
        guarded(async () => {
          const artifact = hasher.finish();
          if (artifact.sizeBytes !== sizeBytes) throw sizeMismatch(artifact.root, sizeBytes, artifact.sizeBytes);
          await file.sync();
          await file.close();
          await this.#place(temporary, artifact.root);
          return artifact;
        }),
      abort,
    };
  }

  /** Under its root, so that the name survives a power cut. */
  async #place(temporary: string, root: Hash): Promise<void> {
    const path = this.#pathOf(root);
    await mkdir(dirname(path), { recursive: true });
    await rename(temporary, path);
    await syncFolder(dirname(path));
  }

  get #temporaryDir(): string {
    return join(this.#dir, 'temporary');
  }

  #pathOf(root: Hash): string {
    // The brand is only a promise; a path is made of nothing else than a root.
    if (!/^[0-9a-f]{64}$/.test(root)) throw notFound(JSON.stringify(root).slice(0, 80));
    return artifactPath(this.#dir, root);
  }

  /** Refused before half of it is written; a disk that fills up meanwhile is found while writing. */
  async #requireSpace(root: string, sizeBytes: number): Promise<void> {
    const { bavail, bsize } = await statfs(this.#dir).catch((cause) => {
      throw storeErrorOf(root, cause);
    });
    const freeBytes = bavail * bsize;
    if (freeBytes - sizeBytes >= this.#minFreeBytes) return;
    throw new StoreError(
      'DISK_FULL',
      `${this.#dir}: ${freeBytes} bytes are free; an artifact of ${sizeBytes} must leave ${this.#minFreeBytes}; free some space`,
      { context: { root, sizeBytes, freeBytes } },
    );
  }

  async #removeStale(): Promise<void> {
    for (const name of await readdir(this.#temporaryDir)) {
      const path = join(this.#temporaryDir, name);
      const { mtimeMs } = await stat(path);
      if (Date.now() - mtimeMs > staleTemporaryMs) await rm(path, { force: true });
    }
  }
}

async function writeChecked(
  file: FileHandle,
  expected: ArtifactRef,
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const hasher = new ArtifactHasher();
  let sizeBytes = 0;
  const block = new Uint8Array(Math.min(blockBytes, expected.sizeBytes));
  let filled = 0;
  const flush = async () => {
    const bytes = block.subarray(0, filled);
    filled = 0;
    hasher.update(bytes);
    await file.writeFile(bytes);
  };
  for await (const chunk of chunks) {
    signal?.throwIfAborted();
    sizeBytes += chunk.byteLength;
    if (sizeBytes > expected.sizeBytes) throw sizeMismatch(expected.root, expected.sizeBytes, sizeBytes);
    for (let at = 0; at < chunk.byteLength; ) {
      const part = chunk.subarray(at, at + block.byteLength - filled);
      block.set(part, filled);
      filled += part.byteLength;
      at += part.byteLength;
      if (filled === block.byteLength) await flush();
    }
  }
  await flush();
  if (sizeBytes !== expected.sizeBytes) throw sizeMismatch(expected.root, expected.sizeBytes, sizeBytes);
  const { root } = hasher.finish();
  if (root !== expected.root) throw hashMismatch(expected.root, root);
}

/** Makes a rename survive a power cut. */
async function syncFolder(dir: string): Promise<void> {
  const folder = await open(dir, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

async function* noBytes(): AsyncIterable<Buffer> {}

const isMissing = (cause: unknown): boolean => (cause as NodeJS.ErrnoException).code === 'ENOENT';

/** Errors of the file system, in the store's words; errors that are not from there pass unchanged. */
function storeErrorOf(what: string, cause: unknown): unknown {
  if (cause instanceof StoreError || !(cause instanceof Error)) return cause;
  const { code } = cause as NodeJS.ErrnoException;
  if (code === undefined || (cause as NodeJS.ErrnoException).syscall === undefined) return cause;
  if (code === 'ENOENT') return new StoreError('NOT_FOUND', `${what}: not in this store`, { cause });
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG') {
    return new StoreError('DISK_FULL', `${what}: the disk is full (${code}); free some space and try again`, { cause });
  }
  return new StoreError('UNAVAILABLE', `${what}: the store's folder cannot be used (${cause.message})`, {
    cause,
    context: { code },
    retryable: true,
  });
}
