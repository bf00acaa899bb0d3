/**
 * @file Fetches a source into a folder: several pieces at a time, each checked, into `.NAME.partial` beside the target, and
 * at the end by rename, so that a target is whole or absent. What is interrupted goes on: pieces that lie there are hashed
 * again and only those that are not right are fetched. Never overwrites. Does file I/O.
 */
import { type FileHandle, mkdir, open, readFile, rename, rm, rmdir, statfs, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isPresent, syncFolder } from '../export/durable.ts';
import { inLanes } from '../util/lanes.ts';
import { writeAll } from '../util/node-write.ts';
import { PullError } from './errors.ts';
import { hashOfPiece, hashOfWhole } from './hashing.ts';
import { type RetryOptions, withRetries } from './retry.ts';
import type { PullFile, PullSource } from './source.ts';

export interface PullOptions {
  readonly target: string;
  /** Pieces that are fetched at a time. */
  readonly parallel: number;
  readonly signal: AbortSignal;
  readonly retry?: RetryOptions;
  onProgress?(progress: PullProgress): void;
}

export interface PullProgress {
  readonly doneBytes: number;
  readonly totalBytes: number;
  /** The file that something was done on. */
  readonly part: string;
}

export interface PullReport {
  readonly files: number;
  readonly totalBytes: number;
  readonly fetchedBytes: number;
}

export const partialPullOf = (target: string): string =>
  join(dirname(resolve(target)), `.${basename(resolve(target))}.partial`);

/** Pauses between attempts end with the signal. */
export const retryOptions = (signal: AbortSignal): RetryOptions => ({
  random: Math.random,
  sleep: (ms) => sleep(ms, undefined, { signal }),
});

/** @throws PullError */
export async function pull(source: PullSource, options: PullOptions): Promise<PullReport> {
  const target = resolve(options.target);
  const partial = partialPullOf(target);
  try {
    if (await isPresent(target))
      throw new PullError('TARGET_EXISTS', `${target} is there already; choose another name or remove it`);
    await openPartial(partial, source);
    const fetching = new Fetching(source, join(partial, 'files'), options);
    await fetching.checkRoom(dirname(target));
    await fetching.run();
    await syncFolder(join(partial, 'files'));
    options.signal.throwIfAborted();
    await rename(join(partial, 'files'), target);
    await rm(join(partial, 'source'));
    // A caller's lock may lie in it.
    await rmdir(partial).catch(() => {});
    await syncFolder(dirname(target));
    return fetching.report();
  } catch (cause) {
    throw asPullError(cause, target, options.signal);
  }
}

function asPullError(cause: unknown, target: string, signal: AbortSignal): PullError {
  if (signal.aborted)
    return new PullError('INTERRUPTED', `${target}: interrupted; the same command goes on where this one stopped`, {
      cause,
      retryable: true,
    });
  if (cause instanceof PullError) return cause;
  const { code, message } = cause as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new PullError('DISK_FULL', `${target}: the disk is full; free some space, and the same command goes on`, {
      cause,
      retryable: true,
    });
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS')
    return new PullError('WRITE_FAILED', `${target}: this user may not write there; choose another --out`, { cause });
  if (code === 'ENOENT' || code === 'ENOTDIR')
    return new PullError('WRITE_FAILED', `${target}: its folder is not there; make that first`, { cause });
  if (code === undefined) throw cause; // a fault of our own
  return new PullError('WRITE_FAILED', `${target}: ${message}`, { cause });
}

/** The folder of this source; what another one left there is removed. */
async function openPartial(partial: string, { identity }: PullSource): Promise<void> {
  const mark = join(partial, 'source');
  const left = await readFile(mark, 'utf8').catch(() => null);
  if (left !== identity) await rm(join(partial, 'files'), { recursive: true, force: true });
  await mkdir(partial).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  await writeFile(mark, identity);
  await mkdir(join(partial, 'files'), { recursive: true });
}

/** A range that is fetched and checked by itself. */
interface Piece {
  readonly file: PullFile;
  /** Of a file in pieces; null: the whole. */
  readonly index: number | null;
  readonly from: number;
  readonly to: number;
}

function piecesOf(file: PullFile): Piece[] {
  const { check, sizeBytes } = file;
  if (check.kind === 'whole') return [{ file, index: null, from: 0, to: sizeBytes }];
  return check.hashes.map((_, index) => {
    const from = index * check.pieceBytes;
    return { file, index, from, to: Math.min(sizeBytes, from + check.pieceBytes) };
  });
}

class Fetching {
  readonly #source: PullSource;
  readonly #folder: string;
  readonly #options: PullOptions;
  readonly #retry: RetryOptions;
  readonly #totalBytes: number;
  #doneBytes = 0;
  #fetchedBytes = 0;

  constructor(source: PullSource, folder: string, options: PullOptions) {
    this.#source = source;
    this.#folder = folder;
    this.#options = options;
    this.#retry = options.retry ?? retryOptions(options.signal);
    this.#totalBytes = source.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  }

  report(): PullReport {
    return { files: this.#source.files.length, totalBytes: this.#totalBytes, fetchedBytes: this.#fetchedBytes };
  }

  /** What lies there already takes no more room. */
  async checkRoom(parent: string): Promise<void> {
    const { bavail, bsize } = await statfs(parent);
    let there = 0;
    for (const { name, sizeBytes } of this.#source.files)
      there += Math.min(sizeBytes, await diskBytes(this.#path(name)));
    const needed = this.#totalBytes - there;
    if (needed > bavail * bsize)
      throw new PullError('DISK_FULL', `${needed} bytes are needed, ${bavail * bsize} are free; nothing was fetched`, {
        retryable: true,
      });
  }

  async run(): Promise<void> {
    const handles = new Map<string, FileHandle>();
    try {
      for (const { name } of this.#source.files) {
        await mkdir(dirname(this.#path(name)), { recursive: true });
        handles.set(name, await openToResume(this.#path(name)));
      }
      const pieces = this.#source.files.flatMap(piecesOf);
      await inLanes(pieces.length, { atOnce: this.#options.parallel }, (i) =>
        this.#bring(pieces[i]!, handles.get(pieces[i]!.file.name)!),
      );
      for (const [name, handle] of handles) {
        const { sizeBytes } = this.#source.files.find((file) => file.name === name)!;
        await handle.truncate(sizeBytes);
        await handle.sync();
      }
    } finally {
      for (const handle of handles.values()) await handle.close();
    }
  }

  async #bring(piece: Piece, handle: FileHandle): Promise<void> {
    const { signal } = this.#options;
    // Of a whole file as much as is there is believed until its end; of a piece it is hashed now.
    const there = await presentBytes(handle, piece);
    const isThere = there === piece.to - piece.from && (await this.#isRight(piece, handle));
    if (isThere) return this.#tell(piece, piece.to - piece.from);
    let have = piece.index === null && there < piece.to ? there : 0;
    this.#tell(piece, have);
    // Once more where the bytes are wrong: a fault on the way, or of the disk, is not there again.
    for (let attempt = 0; ; attempt++) {
      await withRetries(
        async () => {
          for await (const bytes of this.#source.read(piece.file, { from: piece.from + have, to: piece.to })) {
            signal.throwIfAborted();
            await writeAll(handle, bytes, piece.from + have);
            have += bytes.byteLength;
            this.#fetchedBytes += bytes.byteLength;
            this.#tell(piece, bytes.byteLength);
          }
        },
        this.#retry,
        () => have,
      );
      if (await this.#isRight(piece, handle)) return;
      this.#tell(piece, -have);
      have = 0;
      // Nothing of it shall look right, or half done, to the next pull.
      if (piece.index === null) await handle.truncate(0);
      if (attempt === 1) throw await this.#tampered(piece);
    }
  }

  async #isRight(piece: Piece, handle: FileHandle): Promise<boolean> {
    const { check, sizeBytes } = piece.file;
    const hash = check.kind === 'whole' ? hashOfWhole(check, sizeBytes) : hashOfPiece();
    const buffer = new Uint8Array(1 << 20);
    for (let at = piece.from; at < piece.to; ) {
      this.#options.signal.throwIfAborted();
      const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.byteLength, piece.to - at), at);
      if (bytesRead === 0) return false;
      hash.update(buffer.subarray(0, bytesRead));
      at += bytesRead;
    }
    return hash.finish() === expectedHash(piece);
  }

  async #tampered(piece: Piece): Promise<PullError> {
    const { check, name } = piece.file;
    const what = check.kind === 'whole' ? name : `${name}: piece ${piece.index! + 1} of ${check.hashes.length}`;
    return new PullError(
      'TAMPERED',
      `${what} is not what ${this.#source.name} names: expected bytes with hash ${expectedHash(piece)}, got others, twice; it is refused, and the target is not made`,
      { context: { file: name, piece: piece.index } },
    );
  }

  #tell({ file }: Piece, bytes: number): void {
    this.#doneBytes += bytes;
    this.#options.onProgress?.({ doneBytes: this.#doneBytes, totalBytes: this.#totalBytes, part: file.name });
  }

  #path(name: string): string {
    return join(this.#folder, ...name.split('/'));
  }
}

const expectedHash = ({ file: { check }, index }: Piece): string =>
  check.kind === 'whole' ? check.hash : check.hashes[index!]!;

async function openToResume(path: string): Promise<FileHandle> {
  return await open(path, 'r+').catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
    return await open(path, 'wx+');
  });
}

/** How far the file reaches into the piece. */
async function presentBytes(handle: FileHandle, { from, to }: Piece): Promise<number> {
  const { size } = await handle.stat();
  return Math.max(0, Math.min(size, to) - from);
}

async function diskBytes(path: string): Promise<number> {
  const handle = await open(path, 'r').catch(() => null);
  if (handle === null) return 0;
  const { blocks, size } = await handle.stat().finally(() => handle.close());
  return Math.min(size, blocks * 512);
}
