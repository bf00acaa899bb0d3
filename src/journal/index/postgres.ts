/**
 * @file The index in PostgreSQL 15 or newer. One process writes it: its connection holds an advisory lock and writes under it, so
 * that a lost connection is a lost lock, and two orchestrators cannot mix their rows. Any number of processes may read.
 */
import { Kysely, PostgresDialect } from 'kysely';
import { type Log, silentLog } from '../../util/clock.ts';
import { KyselyIndex, migrateIndex } from './kysely-index.ts';
import { Generations } from './postgres-generations.ts';
import { type PoolLimits, type PoolOptions, PostgresPool, type PostgresTarget, poolLimits } from './postgres-pool.ts';
import { projectionVersion } from './projector.ts';
import { type IndexTables, newestMigration } from './schema.ts';

export interface PostgresIndexOptions {
  readonly target: PostgresTarget;
  readonly log?: Log;
  readonly limits?: PoolLimits;
  /** Names the form of the tables; another one is made beside it. */
  readonly form?: string;
}

const readers = 6;
const ownForm = `${newestMigration.slice(0, 4)}_p${projectionVersion}`;

/** @throws JournalError INDEX_DENIED, INDEX_AWAY, INDEX_DAMAGED, DISK_FULL, IO */
export async function openPostgresIndex(options: PostgresIndexOptions): Promise<KyselyIndex> {
  const { target, log = silentLog, limits = poolLimits, form = ownForm } = options;
  const generations = new Generations(target.schema, form);
  const connect = (own: Pick<PoolOptions, 'max' | 'lock'>): Kysely<IndexTables> => {
    const pool = new PostgresPool({ target, limits, searchPath: generations.name, ...own });
    return new Kysely<IndexTables>({ dialect: new PostgresDialect({ pool }) });
  };
  await prepare(connect({ max: 1, lock: null }), generations, log);
  const reader = connect({ max: readers, lock: null });
  const writer = connect({ max: 1, lock: generations.name });
  let isAnswering = false;
  return new KyselyIndex(reader, {
    writer,
    onApplied: async (tx, head) => {
      if (isAnswering) return;
      isAnswering = await generations.settle(tx, head);
      if (isAnswering) log.info('the index answers', { server: target.server, schema: generations.name });
    },
    close: async () => {
      await Promise.all([reader.destroy(), writer.destroy()]);
    },
  });
}

async function prepare(db: Kysely<IndexTables>, generations: Generations, log: Log): Promise<void> {
  try {
    await generations.prepare(db);
    await migrateIndex(db, { schema: generations.name, text: 'bytewise' });
    await generations
      .sweep(db)
      .catch((error) => log.warn('old tables of the index are left', { error: (error as Error).message }));
  } finally {
    await db.destroy();
  }
}
