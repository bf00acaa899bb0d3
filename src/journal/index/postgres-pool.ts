/**
 * @file Connections to PostgreSQL by `pg`, as Kysely wants them: bounded in number and in time, with typed errors. A connection
 * that timed out or broke is not used again; while the server is away, questions fail at once instead of waiting in a queue.
 */
import type { PostgresPool as KyselyPool, PostgresPoolClient, PostgresQueryResult } from 'kysely';
import pg from 'pg';
import { JournalError } from '../errors.ts';
import { asJournalError } from './postgres-errors.ts';

export interface PostgresTarget {
  /** As `pg` takes it. */
  readonly connectionString: string;
  /** For people: host and database. */
  readonly server: string;
  /** Tables lie in schemas whose names begin with this. */
  readonly schema: string;
}

export interface PoolLimits {
  readonly connectMs: number;
  readonly queryMs: number;
}

export const poolLimits: PoolLimits = { connectMs: 5_000, queryMs: 30_000 };

export interface PoolOptions {
  readonly target: PostgresTarget;
  /** Where names without a schema are looked up. */
  readonly searchPath: string;
  readonly max: number;
  readonly limits: PoolLimits;
  /** Each use of a connection needs this lock, which the connection then holds to its end. Null: none. */
  readonly lock: string | null;
}

/** After a failure to connect, no other attempt for so long. */
const failFastMs = 1_000;

const [int8, numeric] = [20, 1700];
/** The index holds whole numbers below 2^53, and reads no other numeric than a mean. */
const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    oid === int8 || oid === numeric ? Number : pg.types.getTypeParser(oid, format as 'text')) as never,
};

export class PostgresPool implements KyselyPool {
  readonly #options: PoolOptions;
  readonly #pool: pg.Pool;
  #failure: { readonly error: JournalError; readonly untilMs: number } | null = null;

  constructor(options: PoolOptions) {
    this.#options = options;
    const { target, searchPath, max, limits } = options;
    this.#pool = new pg.Pool({
      connectionString: target.connectionString,
      application_name: 'accrete index',
      max,
      // The lock lives as long as its connection.
      idleTimeoutMillis: options.lock === null ? 30_000 : 0,
      connectionTimeoutMillis: limits.connectMs,
      query_timeout: limits.queryMs,
      statement_timeout: limits.queryMs,
      lock_timeout: limits.queryMs,
      // A process that stands still must not hold its locks for ever, nor one whose machine is gone.
      idle_in_transaction_session_timeout: 2 * limits.queryMs,
      options: `-c search_path=${searchPath} -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3`,
      keepAlive: true,
      keepAliveInitialDelayMillis: 10_000,
      types,
    });
    // Connections break at any time: the next question meets the error, and an event without a listener would end the process.
    this.#pool.on('error', () => {});
    this.#pool.on('connect', (client) => client.on('error', () => {}));
  }

  async connect(): Promise<PostgresPoolClient> {
    const { target, lock } = this.#options;
    if (this.#failure !== null && performance.now() < this.#failure.untilMs) throw this.#failure.error;
    this.#failure = null;
    const client = await this.#pool.connect().catch((cause) => {
      const error = asJournalError(cause, target.server);
      if (error.code === 'INDEX_AWAY') this.#failure = { error, untilMs: performance.now() + failFastMs };
      throw error;
    });
    const used = new UsedClient(client, target.server);
    try {
      if (lock !== null) await takeLock(used, lock, target.server);
    } catch (error) {
      used.release();
      throw error;
    }
    // Kysely asks for cursors only where it is given their class.
    return used as unknown as PostgresPoolClient;
  }

  end(): Promise<void> {
    return this.#pool.end();
  }
}

/** Held again and again by one session it only counts up, and ends with it. @throws JournalError INDEX_BUSY */
async function takeLock(client: UsedClient, lock: string, server: string): Promise<void> {
  const { rows } = await client.query<{ held: boolean }>(
    'select pg_try_advisory_lock(hashtextextended($1, 0)) as held',
    [lock],
  );
  if (rows[0]?.held === true) return;
  throw new JournalError(
    'INDEX_BUSY',
    `${server}: another process writes the index ${lock}; a second run needs a schema of its own (?schema=NAME)`,
    { retryable: true, context: { server, lock } },
  );
}

/** One use of a connection. */
class UsedClient {
  readonly #client: pg.PoolClient;
  readonly #server: string;
  #isBroken = false;

  constructor(client: pg.PoolClient, server: string) {
    this.#client = client;
    this.#server = server;
  }

  async query<R>(sql: string, parameters: readonly unknown[]): Promise<PostgresQueryResult<R>> {
    try {
      return (await this.#client.query(sql, parameters.map(storable))) as unknown as PostgresQueryResult<R>;
    } catch (cause) {
      const error = asJournalError(cause, this.#server);
      // Without the server's word on it, its answer may still come, to whatever is asked next.
      if (error.code === 'INDEX_AWAY') this.#isBroken = true;
      throw error;
    }
  }

  release(isDiscarded = false): void {
    this.#client.release(this.#isBroken || isDiscarded);
  }
}

/** PostgreSQL's text has no NUL, and sentences of strangers may. */
const storable = (value: unknown): unknown =>
  typeof value === 'string' && value.includes('\0') ? value.replaceAll('\0', '\ufffd') : value;
