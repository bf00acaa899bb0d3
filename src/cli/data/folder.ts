/** @file The data folder's `sources.json`, and the lock that keeps two preparations apart. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeWhole } from '../../data/pipeline/durable.ts';
import { formatSources, parseSources, type Source } from '../../data/pipeline/sources.ts';
import { lockFolder } from '../../journal/folder-lock.ts';

/** Empty where there is none. @throws DataError BAD_SOURCE */
export async function readSources(dir: string): Promise<readonly Source[]> {
  const path = join(dir, 'sources.json');
  try {
    return parseSources(await readFile(path, 'utf8'), path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

export const writeSources = (dir: string, sources: readonly Source[]): Promise<void> =>
  writeWhole(join(dir, 'sources.json'), Buffer.from(formatSources(sources)));

/** @throws JournalError LOCKED while another process holds the folder */
export async function holding<T>(dir: string, work: () => Promise<T>): Promise<T> {
  const lock = await lockFolder(dir);
  try {
    return await work();
  } finally {
    await lock.release();
  }
}
