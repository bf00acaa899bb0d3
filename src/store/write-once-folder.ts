/**
 * @file Names that are taken once, as files of a folder: written under a temporary name, flushed, then linked to their own,
 * which fails where it is taken. The folder may lie on a network file system that has hard links (NFS has).
 */
import { randomUUID } from 'node:crypto';
import { type FileHandle, link, mkdir, open, readdir, readFile, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { writeAll } from '../util/node-write.ts';
import { StoreError } from './errors.ts';
import { isObjectName, maxObjectBytes, type WriteOnce } from './port.ts';

/** Temporary files of a crashed process are removed when they are this old. */
const staleTemporaryMs = 3_600_000;

export class WriteOnceFolder implements WriteOnce {
  readonly #dir: string;
  /** Folders whose names are on the disk. */
  readonly #made = new Set<string>();

  private constructor(dir: string) {
    this.#dir = dir;
  }

  /** Opens or makes the folder. @throws StoreError UNAVAILABLE */
  static async open(dir: string): Promise<WriteOnceFolder> {
    const temporary = join(dir, 'temporary');
    try {
      await mkdir(temporary, { recursive: true });
      for (const name of await readdir(temporary)) {
        const path = join(temporary, name);
        const found = await stat(path).catch(() => null); // another process tidies up too
        if (found !== null && Date.now() - found.mtimeMs > staleTemporaryMs) await rm(path, { force: true });
      }
    } catch (cause) {
      throw unavailable(dir, cause);
    }
    return new WriteOnceFolder(dir);
  }

  async putNew(name: string, bytes: Uint8Array): Promise<boolean> {
    const path = this.#pathOf(name);
    const temporary = join(this.#dir, 'temporary', randomUUID());
    try {
      const folder = dirname(path);
      await this.#makeFolder(folder);
      await writeFlushed(temporary, bytes);
      try {
        await link(temporary, path);
      } catch (error) {
        if (codeOf(error) === 'EEXIST') return false;
        throw error;
      }
      await syncFolder(folder);
      return true;
    } catch (cause) {
      throw unavailable(name, cause);
    } finally {
      await rm(temporary, { force: true }).catch(() => {}); // tidied up at an opening
    }
  }

  async get(name: string): Promise<Uint8Array | null> {
    const path = this.#pathOf(name);
    try {
      const { size } = await stat(path);
      if (size > maxObjectBytes)
        throw new StoreError('TOO_LARGE', `${name}: expected at most ${maxObjectBytes} bytes, found ${size}`);
      return await readFile(path);
    } catch (cause) {
      if (codeOf(cause) === 'ENOENT') return null;
      throw unavailable(name, cause);
    }
  }

  async #makeFolder(folder: string): Promise<void> {
    if (this.#made.has(folder)) return;
    const first = await mkdir(folder, { recursive: true });
    if (first !== undefined) await syncFolder(dirname(first));
    this.#made.add(folder);
  }

  #pathOf(name: string): string {
    if (!isObjectName(name))
      throw new StoreError('NOT_FOUND', `${JSON.stringify(name).slice(0, 80)} is no name of an object`);
    return join(this.#dir, 'objects', name);
  }
}

async function writeFlushed(path: string, bytes: Uint8Array): Promise<void> {
  const file: FileHandle = await open(path, 'wx', 0o600);
  try {
    await writeAll(file, bytes);
    await file.datasync();
  } finally {
    await file.close();
  }
}

/** Makes a new name survive a power cut. */
async function syncFolder(dir: string): Promise<void> {
  const folder = await open(dir, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

const codeOf = (cause: unknown): string => (cause as NodeJS.ErrnoException).code ?? 'unknown';

function unavailable(what: string, cause: unknown): unknown {
  if (cause instanceof StoreError || !(cause instanceof Error)) return cause;
  const code = codeOf(cause);
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new StoreError('DISK_FULL', `${what}: the disk is full (${code}); free some space`, { cause });
  const sentence = `${what}: the shared folder cannot be used (${cause.message})`;
  return new StoreError('UNAVAILABLE', sentence, { cause, context: { code }, retryable: true });
}
