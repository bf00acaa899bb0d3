/**
 * @file One process a folder. The lock is a directory whose time is renewed (proper-lockfile); beside it lies who holds it,
 * so that after a crash on this machine the next process need not wait until the lock looks old.
 */
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { lock } from 'proper-lockfile';
import { JournalError } from './errors.ts';

export interface FolderLock {
  /** True once another process took the lock away, because this one was stopped for too long. */
  readonly isLost: boolean;
  release(): Promise<void>;
}

/**
 * A lock that was not renewed for so long is anybody's. Long, because a process that sleeps or computes is not dead; whether
 * the holder is dead is asked of the system, where the holder is on this machine.
 */
const staleMs = 600_000;
const renewMs = 5_000;

/** @throws JournalError LOCKED while another live process holds the folder */
export async function lockFolder(folder: string): Promise<FolderLock> {
  await mkdir(folder, { recursive: true });
  const lockPath = join(folder, 'lock');
  const ownerPath = join(folder, 'lock-owner.json');
  const held = { isLost: false };
  const onCompromised = () => {
    held.isLost = true;
  };
  const take = () => lock(folder, { lockfilePath: lockPath, stale: staleMs, update: renewMs, onCompromised });
  let release: () => Promise<void>;
  try {
    release = await take();
  } catch (error) {
    if ((error as { code?: string }).code !== 'ELOCKED') throw error;
    const owner = await readOwner(ownerPath);
    if (!(await isAbandoned(lockPath, owner))) throw lockedBy(folder, owner);
    // Renamed first: of two processes that find the same dead owner only one moves its lock away.
    const old = `${lockPath}-before-${process.pid}`;
    await rename(lockPath, old).catch(() => {});
    await rm(old, { recursive: true, force: true });
    release = await take().catch(() => {
      throw lockedBy(folder, null);
    });
  }
  await writeFile(ownerPath, JSON.stringify({ pid: process.pid, host: hostname() }));
  return {
    get isLost() {
      return held.isLost;
    },
    async release() {
      await rm(ownerPath, { force: true });
      if (!held.isLost) await release();
    },
  };
}

interface Owner {
  readonly pid: number;
  readonly host: string;
}

/** Null while the holder has not written it yet, or if it is damaged: then only the lock's age counts. */
async function readOwner(path: string): Promise<Owner | null> {
  try {
    const { pid, host } = JSON.parse(await readFile(path, 'utf8')) as Owner;
    return Number.isSafeInteger(pid) && pid > 0 && typeof host === 'string' ? { pid, host } : null;
  } catch {
    return null;
  }
}

/** The holder is dead; or it died before it could write its name, and nobody renews the lock. */
async function isAbandoned(lockPath: string, owner: Owner | null): Promise<boolean> {
  if (owner !== null) return owner.host === hostname() && !isAlive(owner.pid);
  const found = await stat(lockPath).catch(() => null);
  return found === null || Date.now() - found.mtimeMs > 4 * renewMs;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: string }).code !== 'ESRCH';
  }
}

function lockedBy(folder: string, owner: Owner | null): JournalError {
  const who = owner === null ? 'another process' : `process ${owner.pid} on ${owner.host}`;
  return new JournalError('LOCKED', `${who} works in ${folder}; stop it first, or choose another folder`, {
    context: { folder, pid: owner?.pid },
    retryable: true,
  });
}
