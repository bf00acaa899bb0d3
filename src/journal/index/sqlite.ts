/**
 * @file The index in one SQLite file, by libsql. Its file can be removed at any time: it is made again from the journal. A file
 * that cannot be read is put out of the way and begun anew.
 */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { Kysely, SqliteDialect } from 'kysely';
import Database from 'libsql';
import { type Log, silentLog } from '../../util/clock.ts';
import { JournalError } from '../errors.ts';
import { KyselyIndex, migrateIndex } from './kysely-index.ts';
import type { IndexTables } from './schema.ts';

export interface SqliteIndexOptions {
  /** `:memory:` for none. */
  readonly path: string;
  readonly log?: Log;
}

/** @throws JournalError IO where the folder cannot be written */
export async function openSqliteIndex({ path, log = silentLog }: SqliteIndexOptions): Promise<KyselyIndex> {
  if (path !== ':memory:') mkdirSync(dirname(path), { recursive: true });
  try {
    return await open(path);
  } catch (error) {
    if (path === ':memory:' || !existsSync(path)) throw asIo(path, error);
    log.warn('the index of the journal cannot be read and is made anew', { path, error });
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${path}${suffix}`, { force: true });
    return await open(path).catch((again) => {
      throw asIo(path, again);
    });
  }
}

async function open(path: string): Promise<KyselyIndex> {
  const database = new Database(path);
  const db = new Kysely<IndexTables>({ dialect: new SqliteDialect({ database }) });
  try {
    // Readers and the writer do not wait for each other; a crash of the machine may lose the newest batches, which are made again.
    database.pragma('journal_mode = WAL');
    database.pragma('synchronous = NORMAL');
    await migrateIndex(db);
    const [check] = database.pragma('quick_check(1)') as { readonly quick_check: string }[];
    if (check?.quick_check !== 'ok') throw new JournalError('INDEX_DAMAGED', `${path}: ${check?.quick_check}`);
  } catch (error) {
    await db.destroy().catch(() => {});
    throw error;
  }
  return new KyselyIndex(db);
}

function asIo(path: string, cause: unknown): JournalError {
  const { code, message } = cause as { readonly code?: string; readonly message: string };
  const isFull = code === 'SQLITE_FULL' || code === 'ENOSPC';
  return new JournalError(isFull ? 'DISK_FULL' : 'IO', `${path}: the index cannot be opened: ${message}`, { cause });
}
