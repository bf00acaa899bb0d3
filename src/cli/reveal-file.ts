/** @file Weights that wait to be revealed, in a validator's folder: JSON, version 1, mode 0600, replaced as a whole. */

import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { LedgerError } from '../ledger/errors.ts';
import { type PendingReveal, pendingRevealSchema, type RevealStore } from '../ledger/weight-setter.ts';

const fileSchema = z.strictObject({ version: z.literal(1), reveals: z.array(pendingRevealSchema).max(64) });

export const revealFileIn = (dir: string): string => join(dir, 'reveals.json');

export class RevealFile implements RevealStore {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** @throws LedgerError DAMAGED */
  async load(): Promise<readonly PendingReveal[]> {
    const text = await readFile(this.#path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null;
      throw error;
    });
    if (text === null) return [];
    try {
      return fileSchema.parse(JSON.parse(text)).reveals;
    } catch (cause) {
      throw new LedgerError(
        'DAMAGED',
        `${this.#path} is not a file of reveals of version 1; move it away: weights that were committed to cannot be revealed then`,
        { cause },
      );
    }
  }

  async save(reveals: readonly PendingReveal[]): Promise<void> {
    await mkdir(dirname(this.#path), { recursive: true });
    const temporary = `${this.#path}.${process.pid}.tmp`;
    const file = await open(temporary, 'w', 0o600);
    try {
      await file.writeFile(JSON.stringify({ version: 1, reveals }));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, this.#path);
    const folder = await open(dirname(this.#path), 'r');
    await folder.sync().finally(() => folder.close());
  }
}

export const makeSalt = (): readonly number[] => [...new Uint16Array(new Uint8Array(randomBytes(16)).buffer)];
