/** @file Which index an orchestrator keeps beside its journal: SQLite in the run's folder, or PostgreSQL. */
import { join } from 'node:path';
import { JournalError } from '../journal/errors.ts';
import { Indexer } from '../journal/index/indexer.ts';
import type { JournalIndex } from '../journal/index/port.ts';
import { openPostgresIndex } from '../journal/index/postgres.ts';
import type { PostgresTarget } from '../journal/index/postgres-pool.ts';
import { hasPassword, parsePostgresUrl } from '../journal/index/postgres-url.ts';
import { openSqliteIndex } from '../journal/index/sqlite.ts';
import type { Journal } from '../journal/port.ts';
import type { Log } from '../util/clock.ts';
import { UsageError } from '../util/errors.ts';
import type { Settings } from './settings.ts';

/** Null: SQLite in the run's folder. */
export type IndexChoice = PostgresTarget | null;

/** @throws UsageError, also for a password: other users of the machine see command lines */
export function parseIndexChoice(settings: Settings): IndexChoice {
  const text = settings.text('index');
  if (text === 'sqlite') return null;
  if (hasPassword(text))
    throw new UsageError(
      '--index: a password belongs into PGPASSWORD or a file that PGPASSFILE names, not into the URL',
    );
  const target = parsePostgresUrl(text);
  if (typeof target === 'string') throw new UsageError(`--index: ${target}, or 'sqlite'`);
  return target;
}

export interface OpenIndex {
  readonly index: JournalIndex;
  readonly indexer: Indexer;
  /** Why it is not the one that was asked for; for `/healthz`. */
  readonly fault: string | null;
}

/**
 * Where it cannot be opened for now, the index is kept in memory until the next start: a run must not stop for it. @throws UsageError
 * where the database refuses us, or belongs to another process
 */
export async function openIndex(choice: IndexChoice, dir: string, journal: Journal, log: Log): Promise<OpenIndex> {
  try {
    return await openChosen(choice, dir, journal, log);
  } catch (error) {
    if (error instanceof JournalError && (error.code === 'INDEX_DENIED' || error.code === 'INDEX_BUSY'))
      throw new UsageError(`--index: ${error.message}`, { cause: error });
    const fault = `the index of the journal cannot be opened and is kept in memory until the next start: ${(error as Error).message}`;
    log.error(fault, { error });
    const index = await openSqliteIndex({ path: ':memory:' });
    return { index, indexer: await Indexer.open(index, journal), fault };
  }
}

async function openChosen(choice: IndexChoice, dir: string, journal: Journal, log: Log): Promise<OpenIndex> {
  const index =
    choice === null
      ? await openSqliteIndex({ path: join(dir, 'index', 'journal.sqlite'), log })
      : await openPostgresIndex({ target: choice, log });
  try {
    return { index, indexer: await Indexer.open(index, journal), fault: null };
  } catch (error) {
    await index.close();
    throw error;
  }
}
