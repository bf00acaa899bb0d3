/**
 * @file The index in a SQL database that Kysely speaks to: all its questions, for any dialect. `sqlite.ts` opens one. Pages
 * are keyset pages: a row that comes in between moves none.
 */
import { type Kysely, Migrator, type RawBuilder, sql } from 'kysely';
import type { Hash, Hotkey } from '../../protocol/names.ts';
import { JournalError } from '../errors.ts';
import { zeroHash } from '../state.ts';
import { openCursor, sealCursor } from './cursor.ts';
import type {
  ClaimIndexRow,
  ClaimsQuestion,
  IndexBatch,
  IndexHead,
  JournalIndex,
  MarkIndexRow,
  MarkKind,
  MergeIndexRow,
  MinerFound,
  MinersQuestion,
  NeuronIndexRow,
  Page,
  PageQuestion,
  SampleIndexRow,
  SeriesBucket,
  SeriesQuestion,
  ValidatorIndexRow,
} from './port.ts';
import { projectionVersion } from './projector.ts';
import { columnsOf, type IndexTables, indexMigrations, keysOf, projectedTables, type TextOrder } from './schema.ts';
import { readSeries } from './series-query.ts';

const emptyHead: IndexHead = { size: 0, headHash: zeroHash, lastTimeMs: 0 };
/** Databases bound the parameters of a statement; 32,766 is SQLite's. */
const maxParameters = 16_000;

const openStatuses = ['committed', 'beaconed', 'revealed', 'accepted', 'merging'] as const;
const statusesOf: Readonly<Record<Exclude<ClaimsQuestion['status'], 'all'>, readonly string[]>> = {
  open: openStatuses,
  refused: ['refused', 'voided'],
  merged: ['merged'],
};

export interface MigrateOptions {
  /** Of a database with several; its connections look there first. */
  readonly schema?: string;
  readonly text?: TextOrder;
}

/** Brings the tables to the newest form. @throws JournalError INDEX_DAMAGED, or what the adapter's connection throws */
export async function migrateIndex(db: Kysely<IndexTables>, options: MigrateOptions = {}): Promise<void> {
  const { schema, text = 'own' } = options;
  const migrator = new Migrator({
    ...{ db, provider: indexMigrations(text) },
    ...(schema === undefined ? {} : { migrationTableSchema: schema }),
  });
  const { error } = await migrator.migrateToLatest();
  if (error instanceof JournalError) throw error;
  if (error !== undefined)
    throw new JournalError('INDEX_DAMAGED', 'the index cannot be brought up to date', { cause: error });
}

export interface KyselyIndexOptions {
  /** Where rows are written; default: where they are read. */
  readonly writer?: Kysely<IndexTables>;
  /** Within the transaction of each batch, after its rows. */
  readonly onApplied?: (tx: Kysely<IndexTables>, head: IndexHead) => Promise<void>;
  readonly close?: () => Promise<void>;
}

export class KyselyIndex implements JournalIndex {
  readonly #db: Kysely<IndexTables>;
  readonly #writer: Kysely<IndexTables>;
  readonly #onApplied: KyselyIndexOptions['onApplied'];
  readonly #close: () => Promise<void>;

  constructor(db: Kysely<IndexTables>, options: KyselyIndexOptions = {}) {
    this.#db = db;
    this.#writer = options.writer ?? db;
    this.#onApplied = options.onApplied;
    this.#close = options.close ?? (() => db.destroy());
  }

  async head(): Promise<IndexHead> {
    return headIn(this.#db);
  }

  async apply(batch: IndexBatch): Promise<void> {
    await this.#writer.transaction().execute(async (db) => {
      const { size, headHash } = await headIn(db);
      if (size !== batch.from.size || headHash !== batch.from.headHash)
        throw new JournalError(
          'INDEX_CONFLICT',
          `the index ends at entry ${size}, the batch begins at ${batch.from.size}`,
          {
            context: { size, from: batch.from.size },
          },
        );
      for (const table of ['claims', 'merges', 'miners', 'validators', 'points', 'marks'] as const)
        await put(db, table, batch[table]);
      const { to } = batch;
      await put(db, 'meta', [{ name: 'head', value: JSON.stringify({ ...to, projection: projectionVersion }) }]);
      await this.#onApplied?.(db, to);
    });
  }

  async clear(): Promise<void> {
    await this.#writer.transaction().execute(async (db) => {
      for (const table of projectedTables) await db.deleteFrom(table).execute();
    });
  }

  async addSamples(samples: readonly SampleIndexRow[]): Promise<void> {
    await put(this.#writer, 'samples', samples);
  }

  async setNeurons(neurons: readonly NeuronIndexRow[]): Promise<void> {
    await put(this.#writer, 'neurons', neurons);
  }

  async claim(id: Hash): Promise<ClaimIndexRow | null> {
    return (await this.#db.selectFrom('claims').selectAll().where('id', '=', id).executeTakeFirst()) ?? null;
  }

  async claims({ hotkey, status, cursor, limit }: ClaimsQuestion): Promise<Page<ClaimIndexRow>> {
    let found = this.#db.selectFrom('claims').where('hotkey', '=', hotkey);
    if (status !== 'all') found = found.where('status', 'in', [...statusesOf[status]]);
    const total = await countOf(found);
    let page = found
      .selectAll()
      .orderBy('seq', 'desc')
      .limit(limit + 1);
    if (cursor !== undefined) page = page.where('seq', '<', openCursor('claims', cursor, 'number'));
    return pageOf(await page.execute(), { limit, total, cursorOf: ({ seq }) => sealCursor('claims', seq) });
  }

  async claimsOfMerge(outerStep: number): Promise<readonly ClaimIndexRow[]> {
    const found = this.#db.selectFrom('claims').selectAll().where('mergedOuterStep', '=', outerStep);
    return found.orderBy('mergeOrder').execute();
  }

  async claimCodes(hotkey: Hotkey): Promise<Readonly<Record<string, number>>> {
    const rows = await this.#db
      .selectFrom('claims')
      .select((eb) => ['code', eb.fn.countAll<number>().as('claims')])
      .where('hotkey', '=', hotkey)
      .groupBy('code')
      // Databases differ in where null comes.
      .orderBy('code', (order) => order.asc().nullsFirst())
      .execute();
    return Object.fromEntries(rows.map(({ code, claims }) => [code ?? 'OPEN', Number(claims)]));
  }

  async claimStatuses(): Promise<Readonly<Record<string, number>>> {
    const rows = await this.#db
      .selectFrom('claims')
      .select((eb) => ['status', eb.fn.countAll<number>().as('claims')])
      .groupBy('status')
      .orderBy('status')
      .execute();
    return Object.fromEntries(rows.map(({ status, claims }) => [status, Number(claims)]));
  }

  async merge(outerStep: number): Promise<MergeIndexRow | null> {
    const found = this.#db.selectFrom('merges').selectAll().where('outerStep', '=', outerStep);
    return (await found.executeTakeFirst()) ?? null;
  }

  async merges({
    fragment,
    cursor,
    limit,
  }: PageQuestion & { readonly fragment?: number | undefined }): Promise<Page<MergeIndexRow>> {
    let found = this.#db.selectFrom('merges');
    if (fragment !== undefined) found = found.where('fragment', '=', fragment);
    const total = await countOf(found);
    let page = found
      .selectAll()
      .orderBy('outerStep', 'desc')
      .limit(limit + 1);
    if (cursor !== undefined) page = page.where('outerStep', '<', openCursor('merges', cursor, 'number'));
    return pageOf(await page.execute(), { limit, total, cursorOf: ({ outerStep }) => sealCursor('merges', outerStep) });
  }

  async miner(hotkey: Hotkey): Promise<MinerFound | null> {
    return (
      (await this.#minersFound()
        .selectAll('miners')
        .select('emissionRao')
        .where('miners.hotkey', '=', hotkey)
        .executeTakeFirst()) ?? null
    );
  }

  #minersFound() {
    return this.#db.selectFrom('miners').leftJoin('neurons', 'neurons.hotkey', 'miners.hotkey');
  }

  async miners(question: MinersQuestion): Promise<Page<MinerFound>> {
    const { cursor, limit, search, present, order, nowMs } = question;
    let found = this.#minersFound();
    if (present !== undefined) found = found.where('learnersPresent', present ? '>' : '=', 0);
    if (search !== undefined)
      found = found.where((eb) =>
        eb.or([
          eb.and([eb('miners.hotkey', '>=', search as Hotkey), eb('miners.hotkey', '<', `${search}~` as Hotkey)]),
          // Names are lower-case, so that it does not matter how a database compares.
          eb('miners.learners', 'like', `% ${search.toLowerCase()}%`),
        ]),
      );
    const total = await countOf(found);
    const value = sortValueOf(question.sort, nowMs);
    const scope = `miners ${question.sort} ${order}`;
    let page = found.selectAll('miners').select(['emissionRao', value.as('sortValue')]);
    if (cursor !== undefined) {
      const [at, hotkey] = openCursor(scope, cursor, 'pair');
      const after = order === 'asc' ? sql`>` : sql`<`;
      page = page.where(
        sql<boolean>`(${value} ${after} ${at} or (${value} = ${at} and ${sql.ref('miners.hotkey')} ${after} ${hotkey}))`,
      );
    }
    page = page
      .orderBy('sortValue', order)
      .orderBy('miners.hotkey', order)
      .limit(limit + 1);
    const rows = await page.execute();
    const { rows: shown, ...rest } = pageOf(rows, {
      ...{ limit, total },
      cursorOf: (row) => sealCursor(scope, [row.sortValue, row.hotkey]),
    });
    return { ...rest, rows: shown.map(({ sortValue: _, ...row }) => row) };
  }

  async validators(): Promise<readonly ValidatorIndexRow[]> {
    return this.#db.selectFrom('validators').selectAll().orderBy('validator').execute();
  }

  series(question: SeriesQuestion): Promise<readonly SeriesBucket[]> {
    return readSeries(this.#db, question);
  }

  async newestPoints(series: string, limit: number): Promise<readonly number[]> {
    const found = this.#db.selectFrom('points').select('value').where('series', '=', series);
    return (await found.orderBy('atMs', 'desc').orderBy('seq', 'desc').limit(limit).execute()).map(
      ({ value }) => value,
    );
  }

  async marks(kind: MarkKind, limit: number): Promise<readonly MarkIndexRow[]> {
    const found = this.#db.selectFrom('marks').selectAll().where('kind', '=', kind);
    return (await found.orderBy('number', 'desc').limit(limit).execute()).reverse();
  }

  close(): Promise<void> {
    return this.#close();
  }
}

async function headIn(db: Kysely<IndexTables>): Promise<IndexHead> {
  const row = await db.selectFrom('meta').select('value').where('name', '=', 'head').executeTakeFirst();
  if (row === undefined) return emptyHead;
  const { projection, size, headHash, lastTimeMs } = JSON.parse(row.value) as IndexHead & {
    readonly projection: number;
  };
  // Rows of another version mean something else: such an index is at no place of this journal.
  return projection === projectionVersion ? { size, headHash, lastTimeMs } : { ...emptyHead, size: -1 };
}

/** Rows replace those of their key. */
async function put<T extends keyof IndexTables>(
  db: Kysely<IndexTables>,
  table: T,
  rows: readonly IndexTables[T][],
): Promise<void> {
  const columns = columnsOf(table);
  const keys = keysOf[table] as readonly string[];
  const others = columns.filter((column) => !keys.includes(column));
  const atOnce = Math.floor(maxParameters / columns.length);
  const newest = withoutOlder(rows, keys as (keyof IndexTables[T])[]);
  for (let from = 0; from < newest.length; from += atOnce) {
    const values = newest.slice(from, from + atOnce);
    // The tables' types differ; rows and columns come from one table of data.
    await (db as unknown as Kysely<Record<string, Record<string, unknown>>>)
      .insertInto(table)
      .values(values as never)
      .onConflict((conflict) =>
        conflict
          .columns([...keys])
          .doUpdateSet(Object.fromEntries(others.map((column) => [column, sql.ref(`excluded.${column}`)])) as never),
      )
      .execute();
  }
}

/** One statement must not write one key twice: of rows with the same key the last one stays. */
function withoutOlder<R>(rows: readonly R[], keys: readonly (keyof R)[]): readonly R[] {
  const byKey = new Map(rows.map((row) => [keys.map((key) => row[key]).join('\n'), row]));
  return byKey.size === rows.length ? rows : [...byKey.values()];
}

/** Rows of a question, whatever is selected of them. */
async function countOf(found: { select(counting: RawBuilder<number>): unknown }): Promise<number> {
  const counting = found.select(sql<number>`count(*)`.as('total') as never) as {
    executeTakeFirstOrThrow(): Promise<{ readonly total: number | string }>;
  };
  return Number((await counting.executeTakeFirstOrThrow()).total);
}

function pageOf<T>(
  rows: readonly T[],
  { limit, total, cursorOf }: { readonly limit: number; readonly total: number; readonly cursorOf: (row: T) => string },
): Page<T> {
  const shown = rows.slice(0, limit);
  return { rows: shown, nextCursor: rows.length > limit ? cursorOf(shown.at(-1)!) : null, total };
}

/** A number or text for every row, never null, so that pages have a place to go on from. */
function sortValueOf(sort: MinersQuestion['sort'], nowMs: number) {
  const ref = (column: string) => sql.ref(`miners.${column}`);
  switch (sort) {
    case 'tokens':
    case 'work':
      return sql<number | string>`${ref('tokens')}`;
    case 'hotkey':
      return sql<number | string>`${ref('hotkey')}`;
    case 'reward':
      return sql<number | string>`coalesce(${sql.ref('neurons.emissionRao')}, 0)`;
    case 'uptime':
      // Whole milliseconds of presence, over the time since it first joined.
      // As doubles: a database's decimals are no numbers of ours, and a cursor must meet the very same value.
      return sql<
        number | string
      >`(cast(${ref('presentMs')} + case when ${ref('presentSinceMs')} is null then 0 else ${nowMs} - ${ref('presentSinceMs')} end as double precision) / (${nowMs} - ${ref('firstJoinedAtMs')} + 1))`;
    case 'quality':
    case 'staleness':
      return sql<number | string>`coalesce(${ref(sort)}, -1)`;
    case 'lastClaim':
      return sql<number | string>`coalesce(${ref('lastClaimAtMs')}, -1)`;
    case 'refused':
      return sql<number | string>`(${ref('refused')} + ${ref('voided')})`;
  }
}
