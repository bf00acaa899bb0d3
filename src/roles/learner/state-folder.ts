/**
 * @file The states that a learner keeps for audits, as files. A state is copied when it is handed over and written while
 * training goes on; a file appears whole or not at all. What cannot be written is reported and costs an unanswered audit
 * at worst. Files may still be damaged when the machine loses power: readers check the hash.
 */
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { artifactOf } from '../../protocol/artifact.ts';
import type { Hash } from '../../protocol/names.ts';
import { nodeSha256 } from '../../util/node-sha256.ts';
import { writeAll } from '../../util/node-write.ts';
import type { RootedState } from './learner.ts';

export interface StateFolderOptions {
  /** Of one learner alone. */
  readonly dir: string;
  readonly run: Hash;
  /** Newest states that stay. */
  readonly keep: number;
}

/** Segments of a window have one more end than there are segments; more come while a challenge is under way. */
export const keptStates = (window: number): number => window + 1 + Math.ceil(window / 2);

interface Kept {
  readonly file: string;
  readonly innerSteps: number;
}

const runPrefix = (run: Hash): string => run.slice(0, 16);
const fileName = (run: Hash, innerSteps: number, root: Hash): string => `${runPrefix(run)}-${innerSteps}-${root}.state`;
const namePattern = /^([0-9a-f]{16})-([0-9]{1,16})-([0-9a-f]{64})\.state$/;

export class StateFolder {
  readonly #options: StateFolderOptions;
  /** Oldest first. */
  #kept: readonly Kept[];
  #copy = new Uint8Array(0);
  #writing: Promise<void> = Promise.resolve();
  #fault: string | null = null;

  private constructor(options: StateFolderOptions, kept: readonly Kept[]) {
    this.#options = options;
    this.#kept = kept;
  }

  /**
   * Removes what no audit can ask for: other runs' states, and those after `committedSteps`, whose steps nobody knows.
   * Throws what the file system throws.
   */
  static async open(options: StateFolderOptions, committedSteps: number): Promise<StateFolder> {
    const { dir, run } = options;
    await mkdir(dir, { recursive: true });
    const kept: Kept[] = [];
    for (const file of await readdir(dir)) {
      const [, prefix, steps] = namePattern.exec(file) ?? [];
      const innerSteps = Number(steps);
      if (prefix === runPrefix(run) && innerSteps <= committedSteps) kept.push({ file, innerSteps });
      else if (prefix !== undefined || file.endsWith('.state.partial')) await rm(join(dir, file), { force: true });
    }
    return new StateFolder(
      options,
      kept.sort((a, b) => a.innerSteps - b.innerSteps),
    );
  }

  /** Resolves when the state is copied: at once, unless the one before it is still being written. Never fails. */
  async add(state: RootedState): Promise<void> {
    await this.#writing;
    this.#writing = this.#write(state).catch((error) => {
      this.#fault = `state after ${state.innerSteps} steps not kept: ${String(error)}`;
    });
  }

  /** What went wrong since the last call. */
  takeFault(): string | null {
    const fault = this.#fault;
    this.#fault = null;
    return fault;
  }

  /** Waits for the last state. */
  close(): Promise<void> {
    return this.#writing;
  }

  /** Copies before its first await. */
  async #write({ innerSteps, root, parts }: RootedState): Promise<void> {
    const { dir, run, keep } = this.#options;
    const sizeBytes = parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
    if (this.#copy.byteLength !== sizeBytes) this.#copy = new Uint8Array(sizeBytes);
    let at = 0;
    for (const part of parts) {
      this.#copy.set(part, at);
      at += part.byteLength;
    }
    // First, so that a nearly full disk has room.
    await this.#drop(this.#kept.slice(0, Math.max(0, this.#kept.length + 1 - keep)));
    const file = fileName(run, innerSteps, root);
    const partial = join(dir, `${file}.partial`);
    try {
      await writeWhole(partial, this.#copy);
      await rename(partial, join(dir, file));
    } catch (error) {
      await rm(partial, { force: true });
      throw error;
    }
    this.#kept = [...this.#kept, { file, innerSteps }];
  }

  async #drop(old: readonly Kept[]): Promise<void> {
    this.#kept = this.#kept.slice(old.length);
    for (const { file } of old) await rm(join(this.#options.dir, file), { force: true });
  }
}

/** Few calls, each of them outside of this thread. */
async function writeWhole(file: string, bytes: Uint8Array): Promise<void> {
  const handle = await open(file, 'w');
  try {
    await writeAll(handle, bytes);
  } finally {
    await handle.close();
  }
}

/** The kept state with this root, checked; null where it is not there or damaged. Throws what the file system throws. */
export async function readKeptState(dir: string, root: Hash): Promise<Uint8Array | null> {
  const file = (await readdir(dir).catch(() => [])).find((name) => namePattern.exec(name)?.[3] === root);
  if (file === undefined) return null;
  const bytes = new Uint8Array(await readFile(join(dir, file)));
  return artifactOf(bytes, nodeSha256).root === root ? bytes : null;
}
