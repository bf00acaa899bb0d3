/**
 * @file Generations of the index in one PostgreSQL database. Each form of the tables has a schema of its own (`accrete_0002_p2`);
 * `accrete` holds the list of them, and views of the one that answers. A new form is filled beside the old one and takes the views
 * over, in the transaction of the batch that brings it level: who reads the views sees the old rows, then the new ones.
 */
import { type Kysely, sql } from 'kysely';
import type { IndexHead } from './port.ts';
import type { IndexTables } from './schema.ts';
import { columnsOf, projectedTables } from './schema.ts';

const viewed = [...projectedTables, 'samples', 'neurons'] as const;

export class Generations {
  readonly schema: string;
  /** Ours; its name is also that of the lock of who writes it. */
  readonly name: string;

  constructor(schema: string, form: string) {
    this.schema = schema;
    this.name = `${schema}_${form}`;
  }

  /** Makes what is missing. Looks first: a role that may not make anything can still use what is there. */
  async prepare(db: Kysely<IndexTables>): Promise<void> {
    await db.transaction().execute(async (tx) => {
      await sql`select pg_advisory_xact_lock(hashtextextended(${this.schema}, 1))`.execute(tx);
      for (const name of [this.schema, this.name])
        if (!(await isThere(tx, 'schema', name))) await sql`create schema ${sql.id(name)}`.execute(tx);
      if (!(await isThere(tx, 'table', `${this.schema}.generations`)))
        await sql`create table ${this.#list()} (name text primary key, "isCurrent" bigint not null)`.execute(tx);
      await sql`insert into ${this.#list()} values (${this.name}, 0) on conflict do nothing`.execute(tx);
    });
  }

  async current(db: Kysely<IndexTables>): Promise<string | null> {
    const { rows } = await sql<{ name: string }>`select name from ${this.#list()} where "isCurrent" = 1`.execute(db);
    const name = rows[0]?.name ?? null;
    return name !== null && (await isThere(db, 'table', `${name}.meta`)) ? name : null;
  }

  /** Within the transaction of a batch: takes the views over once ours is as far as the one that answers. */
  async settle(tx: Kysely<IndexTables>, ours: IndexHead): Promise<boolean> {
    await sql`select pg_advisory_xact_lock(hashtextextended(${this.schema}, 1))`.execute(tx);
    const current = await this.current(tx);
    if (current === this.name) return true;
    if (current !== null) {
      if (ours.lastTimeMs < (await this.#lastTimeOf(tx, current))) return false;
      await this.#copySamples(tx, current);
    }
    for (const table of viewed) {
      const view = sql.id(this.schema, table);
      await sql`drop view if exists ${view}`.execute(tx);
      await sql`create view ${view} as select * from ${sql.id(this.name, table)}`.execute(tx);
    }
    await sql`update ${this.#list()} set "isCurrent" = case when name = ${this.name} then 1 else 0 end`.execute(tx);
    return true;
  }

  /** Removes generations that neither answer nor have a process that writes them; only once ours answers. */
  async sweep(db: Kysely<IndexTables>): Promise<void> {
    if ((await this.current(db)) !== this.name) return;
    const { rows } = await sql<{ name: string }>`select name from ${this.#list()} where "isCurrent" = 0`.execute(db);
    for (const { name } of rows)
      await db.transaction().execute(async (tx) => {
        const lock = sql<{ free: boolean }>`select pg_try_advisory_xact_lock(hashtextextended(${name}, 0)) as free`;
        if ((await lock.execute(tx)).rows[0]?.free !== true) return;
        await sql`drop schema if exists ${sql.id(name)} cascade`.execute(tx);
        await sql`delete from ${this.#list()} where name = ${name}`.execute(tx);
      });
  }

  #list() {
    return sql.id(this.schema, 'generations');
  }

  /** Time grows along a journal, and a later run begins later. */
  async #lastTimeOf(tx: Kysely<IndexTables>, generation: string): Promise<number> {
    const head = sql<{ value: string }>`select value from ${sql.id(generation, 'meta')} where name = 'head'`;
    const { rows } = await head.execute(tx);
    return rows[0] === undefined ? 0 : Number((JSON.parse(rows[0].value) as IndexHead).lastTimeMs);
  }

  /** They cannot be made again from the journal. */
  async #copySamples(tx: Kysely<IndexTables>, from: string): Promise<void> {
    const columns = sql.join(columnsOf('samples').map((column) => sql.id(column)));
    await sql`insert into ${sql.id(this.name, 'samples')} (${columns}) select ${columns} from ${sql.id(from, 'samples')} on conflict do nothing`.execute(
      tx,
    );
  }
}

async function isThere(db: Kysely<IndexTables>, kind: 'schema' | 'table', name: string): Promise<boolean> {
  // Names are ours and of [a-z0-9_.]: what these functions parse is what was meant.
  const found =
    kind === 'schema'
      ? sql<{ there: boolean }>`select to_regnamespace(${name}) is not null as there`
      : sql<{ there: boolean }>`select to_regclass(${name}) is not null as there`;
  return (await found.execute(db)).rows[0]?.there === true;
}
