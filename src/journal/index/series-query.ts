/**
 * @file Reads series of points thinned out by the database: the window is cut into equal spans of time (or of tokens, where
 * only those bound it), each span with points becomes one with their mean and bounds. A line of few points stays as it is.
 */
import { type Kysely, sql } from 'kysely';
import type { SeriesBucket, SeriesQuestion } from './port.ts';
import type { IndexTables } from './schema.ts';

interface Extent {
  readonly series: string;
  readonly samples: number;
  readonly first: number;
  readonly last: number;
}

export async function readSeries(db: Kysely<IndexTables>, question: SeriesQuestion): Promise<readonly SeriesBucket[]> {
  const buckets: SeriesBucket[] = [];
  const isByTokens = question.fromTokens !== undefined || question.toTokens !== undefined;
  const column = isByTokens ? 'countedTokens' : 'atMs';
  for (const table of ['points', 'samples'] as const)
    for (const extent of await extentsOf(db, table, question, column))
      buckets.push(...(await bucketsOf(db, table, question, { ...extent, column })));
  return buckets;
}

function windowOf(db: Kysely<IndexTables>, table: 'points' | 'samples', question: SeriesQuestion) {
  // Both tables have these columns.
  let found = db.selectFrom(table as 'points');
  const { prefix, fromMs, toMs, fromTokens, toTokens } = question;
  found = found.where('series', '>=', prefix).where('series', '<', `${prefix}~`);
  if (fromMs !== undefined) found = found.where('atMs', '>=', fromMs);
  if (toMs !== undefined) found = found.where('atMs', '<=', toMs);
  if (fromTokens !== undefined) found = found.where('countedTokens', '>=', fromTokens);
  if (toTokens !== undefined) found = found.where('countedTokens', '<=', toTokens);
  return found;
}

async function extentsOf(
  db: Kysely<IndexTables>,
  table: 'points' | 'samples',
  question: SeriesQuestion,
  column: 'atMs' | 'countedTokens',
): Promise<Extent[]> {
  const rows = await windowOf(db, table, question)
    .select((eb) => [
      'series',
      eb.fn.countAll<number>().as('samples'),
      eb.fn.min(column).as('first'),
      eb.fn.max(column).as('last'),
    ])
    .groupBy('series')
    .orderBy('series')
    .execute();
  return rows.map(({ series, samples, first, last }) => ({
    ...{ series, samples: Number(samples), first: Number(first), last: Number(last) },
  }));
}

async function bucketsOf(
  db: Kysely<IndexTables>,
  table: 'points' | 'samples',
  question: SeriesQuestion,
  { series, samples, first, last, column }: Extent & { readonly column: 'atMs' | 'countedTokens' },
): Promise<SeriesBucket[]> {
  const own = windowOf(db, table, question).where('series', '=', series);
  if (samples <= question.points) {
    const rows = await own
      .select(['atMs', 'countedTokens', 'value'])
      .orderBy('atMs')
      .orderBy('countedTokens')
      .orderBy('value')
      .execute();
    return rows.map(({ atMs, countedTokens, value }) => ({
      ...{ series, atMs, countedTokens, value, low: value, high: value, samples: 1 },
    }));
  }
  const width = (last - first) / question.points || 1;
  // The last point must not open a span of its own.
  const share = (question.points - 1e-6) / (width * question.points);
  const span = sql<number>`floor(cast(${share} as double precision) * (${sql.ref(column)} - ${first}))`;
  const rows = await own
    .select((eb) => [
      eb.fn.avg<number>('atMs').as('atMs'),
      eb.fn.avg<number>('countedTokens').as('countedTokens'),
      eb.fn.avg<number>('value').as('value'),
      eb.fn.min('value').as('low'),
      eb.fn.max('value').as('high'),
      eb.fn.countAll<number>().as('samples'),
      span.as('span'),
    ])
    .groupBy('span')
    .orderBy('span')
    .execute();
  return rows.map(({ span: _, ...row }) => ({
    ...row,
    series,
    samples: Number(row.samples),
    atMs: Math.round(row.atMs),
  }));
}
