/**
 * @file The index's tables and their migrations, through Kysely, for SQLite and PostgreSQL alike: only types that both have, no
 * `autoincrement`, booleans as 0 and 1. PostgreSQL's adapter must read `bigint` as numbers.
 */
import { type Kysely, type Migration, type MigrationProvider, sql } from 'kysely';
import type {
  ClaimIndexRow,
  MarkIndexRow,
  MergeIndexRow,
  MinerIndexRow,
  NeuronIndexRow,
  PointIndexRow,
  SampleIndexRow,
  ValidatorIndexRow,
} from './port.ts';

export interface IndexTables {
  meta: { name: string; value: string };
  claims: ClaimIndexRow;
  merges: MergeIndexRow;
  miners: MinerIndexRow;
  validators: ValidatorIndexRow;
  points: PointIndexRow;
  marks: MarkIndexRow;
  samples: SampleIndexRow;
  neurons: NeuronIndexRow;
}

/** Tables that `clear` empties. */
export const projectedTables = ['claims', 'merges', 'miners', 'validators', 'points', 'marks', 'meta'] as const;

type Columns<T> = { readonly [K in keyof T]-?: 'text' | 'bigint' | 'double precision' };

/** As data, so that a missing column does not compile. */
const columns: { readonly [T in keyof IndexTables]: Columns<IndexTables[T]> } = {
  meta: { name: 'text', value: 'text' },
  claims: {
    id: 'text',
    hotkey: 'text',
    name: 'text',
    outerStep: 'bigint',
    fragment: 'bigint',
    phase: 'bigint',
    stepFrom: 'bigint',
    stepTo: 'bigint',
    tokens: 'double precision',
    status: 'text',
    code: 'text',
    sentence: 'text',
    seq: 'bigint',
    committedAtMs: 'bigint',
    revealedAtMs: 'bigint',
    settledAtMs: 'bigint',
    mergedAtMs: 'bigint',
    isOverturned: 'bigint',
    isDisputed: 'bigint',
    mergedOuterStep: 'bigint',
    mergeOrder: 'bigint',
    staleness: 'bigint',
    mergeShare: 'double precision',
    norm: 'double precision',
    clippedNorm: 'double precision',
  },
  merges: {
    outerStep: 'bigint',
    fragment: 'bigint',
    fromVersion: 'bigint',
    version: 'bigint',
    seq: 'bigint',
    openedAtMs: 'bigint',
    mergedAtMs: 'bigint',
    atMs: 'bigint',
    durationMs: 'bigint',
    claims: 'bigint',
    learners: 'bigint',
    tokens: 'double precision',
    countedTokens: 'double precision',
    maxNorm: 'double precision',
    maxClippedNorm: 'double precision',
    clipped: 'bigint',
    meanStaleness: 'double precision',
    artifactRoot: 'text',
    artifactSizeBytes: 'bigint',
    momentumRoot: 'text',
    momentumSizeBytes: 'bigint',
  },
  miners: {
    hotkey: 'text',
    learners: 'text',
    learnersPresent: 'bigint',
    tokens: 'double precision',
    committed: 'bigint',
    accepted: 'bigint',
    refused: 'bigint',
    voided: 'bigint',
    merged: 'bigint',
    quality: 'double precision',
    staleness: 'double precision',
    presentMs: 'bigint',
    presentSinceMs: 'bigint',
    firstJoinedAtMs: 'bigint',
    lastClaimAtMs: 'bigint',
    lastCode: 'text',
    lastSentence: 'text',
    weight: 'double precision',
    auditsOpen: 'bigint',
    auditsPassed: 'bigint',
    auditsFailed: 'bigint',
  },
  validators: {
    validator: 'text',
    accept: 'bigint',
    ignore: 'bigint',
    reject: 'bigint',
    lastAtMs: 'bigint',
    medianLatencyMs: 'bigint',
    audits: 'bigint',
  },
  points: {
    series: 'text',
    seq: 'bigint',
    atMs: 'bigint',
    countedTokens: 'double precision',
    value: 'double precision',
  },
  marks: { kind: 'text', number: 'bigint', seq: 'bigint', atMs: 'bigint', countedTokens: 'double precision' },
  samples: { series: 'text', atMs: 'bigint', countedTokens: 'double precision', value: 'double precision' },
  neurons: { hotkey: 'text', emissionRao: 'double precision' },
};

/** What a row replaces: primary keys. */
export const keysOf = {
  meta: ['name'],
  claims: ['id'],
  merges: ['outerStep'],
  miners: ['hotkey'],
  validators: ['validator'],
  points: ['series', 'seq'],
  marks: ['kind', 'number'],
  samples: ['series', 'atMs'],
  neurons: ['hotkey'],
} as const satisfies { readonly [T in keyof IndexTables]: readonly (keyof IndexTables[T])[] };

export const columnsOf = (table: keyof IndexTables): readonly string[] => Object.keys(columns[table]);

const indexes = [
  ['claimsByHotkey', 'claims', ['hotkey', 'seq']],
  ['claimsByMerge', 'claims', ['mergedOuterStep', 'mergeOrder']],
  ['claimsByStatus', 'claims', ['status']],
  ['mergesByFragment', 'merges', ['fragment', 'outerStep']],
  ['pointsByTime', 'points', ['series', 'atMs']],
  ['minersByTokens', 'miners', ['tokens', 'hotkey']],
] as const;

/** Tables that a later migration adds. */
const later: ReadonlySet<string> = new Set(['validators']);

/** How text is ordered: SQLite's own way is by its bytes; PostgreSQL's follows a language, unless it is told. */
export type TextOrder = 'own' | 'bytewise';

async function createTable(db: Kysely<unknown>, table: keyof IndexTables, order: TextOrder): Promise<void> {
  let making = db.schema.createTable(table);
  const text = order === 'own' ? 'text' : sql`text collate "C"`;
  for (const [column, type] of Object.entries(columns[table]))
    making = making.addColumn(column, type === 'text' ? text : type);
  await making.addPrimaryKeyConstraint(`${table}Key`, [...keysOf[table]] as never).execute();
}

const first = (order: TextOrder): Migration => ({
  async up(db: Kysely<unknown>) {
    for (const table of Object.keys(columns) as (keyof IndexTables)[])
      if (!later.has(table)) await createTable(db, table, order);
    for (const [name, table, on] of indexes)
      await db.schema
        .createIndex(name)
        .on(table)
        .columns([...on])
        .execute();
  },
});

/**
 * Reading verdicts anew for each answer took longer than anything else of the API (docs/experiments.md): the projection counts
 * them. Where the first migration is run by this version, there is no table of verdicts.
 */
const validators = (order: TextOrder): Migration => ({
  async up(db: Kysely<unknown>) {
    await createTable(db, 'validators', order);
    await db.schema.dropTable('verdicts').ifExists().execute();
  },
});

/** In order of name; never changed once released: what changes is a new one. */
const migrations = { '0001-first': first, '0002-validators': validators } as const;

export const newestMigration = Object.keys(migrations).sort().at(-1)!;

export const indexMigrations = (order: TextOrder): MigrationProvider => ({
  getMigrations: async () => Object.fromEntries(Object.entries(migrations).map(([name, make]) => [name, make(order)])),
});
