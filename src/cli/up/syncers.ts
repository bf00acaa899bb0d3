/** @file The syncers of `accrete up`: one in the run's folder, or two, of which the second has a folder and a port of its own. */
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { UpOptions } from './options.ts';

export interface SyncerPlace {
  /** `syncer`, `syncer-2`. */
  readonly name: string;
  /** Journal, ledger and releases as this syncer has them. */
  readonly dir: string;
  readonly port: number;
  readonly url: string;
  /** More options of `accrete orchestrate`. */
  readonly args: readonly string[];
}

export function syncersOf({ dir, port, syncers }: Pick<UpOptions, 'dir' | 'port' | 'syncers'>): SyncerPlace[] {
  return Array.from({ length: syncers }, (_, i) => {
    const name = i === 0 ? 'syncer' : `syncer-${i + 1}`;
    return {
      name,
      dir: i === 0 ? dir : join(dir, name),
      port: port + i,
      url: `http://127.0.0.1:${port + i}`,
      args: syncers === 1 ? [] : ['--shared', join(dir, 'shared'), '--as', name],
    };
  });
}

/** The second syncer signs as the same owner, so that he can name it; its session key is its own. */
export function shareOwner([first, ...others]: readonly SyncerPlace[]): void {
  const owner = join(first!.dir, 'syncer', 'hotkey.json');
  for (const { dir } of others) {
    const copy = join(dir, 'syncer', 'hotkey.json');
    mkdirSync(join(dir, 'syncer'), { recursive: true });
    if (existsSync(owner) && !existsSync(copy)) copyFileSync(owner, copy); // its mode goes with it
  }
}
