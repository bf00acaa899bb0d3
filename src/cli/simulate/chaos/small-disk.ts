/** @file A disk that can be filled: a tmpfs whose limit is set to what is used. Needs Linux and the right to mount. */
import { execFile } from 'node:child_process';
import { mkdir, statfs } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);
const roomBytes = 2 * 1024 ** 3;

export class SmallDisk {
  readonly #dir: string;

  private constructor(dir: string) {
    this.#dir = dir;
  }

  /** Null where this process may not mount. */
  static async mount(dir: string): Promise<SmallDisk | null> {
    await mkdir(dir, { recursive: true });
    try {
      await run('mount', ['-t', 'tmpfs', '-o', `size=${roomBytes},mode=700`, 'accrete-chaos', dir]);
      return new SmallDisk(dir);
    } catch {
      return null;
    }
  }

  /** From now on writes fail with ENOSPC. */
  async fill(): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      const { blocks, bfree, bsize } = await statfs(this.#dir);
      try {
        await this.#limit(Math.max(1, blocks - bfree) * bsize);
        return;
      } catch (error) {
        if (attempt === 5) throw error; // more was written in between, each time
      }
    }
  }

  async free(): Promise<void> {
    await this.#limit(roomBytes);
  }

  async unmount(): Promise<void> {
    await run('umount', ['-l', this.#dir]);
  }

  async #limit(bytes: number): Promise<void> {
    await run('mount', ['-o', `remount,size=${bytes}`, this.#dir]);
  }
}
