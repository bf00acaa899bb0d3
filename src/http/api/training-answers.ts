/** @file `series`, `fragments` and `merges`. */
import type { MergeIndexRow, SeriesBucket } from '../../journal/index/port.ts';
import { manifestOf, openClaims } from '../../journal/queries.ts';
import type { ApiQuery } from '../../protocol/api/routes.ts';
import type {
  ApiFragments,
  ApiMerge,
  ApiMergeDetail,
  ApiMerges,
  ApiSeries,
  SeriesMetric,
} from '../../protocol/api/training.ts';
import type { Hotkey } from '../../protocol/names.ts';
import { NotThere, type Sources } from './sources.ts';

const unitOf: { readonly [M in SeriesMetric]: string } = {
  'training-loss': 'nats/token',
  'held-out-loss': 'nats/token',
  throughput: 'tokens/s',
  'trained-throughput': 'tokens/s',
  'router-health': '',
  gain: 'nats/token',
  norm: '',
  staleness: 'versions',
  latency: 'ms',
  participation: '',
};
const maxMarks = 500;

export async function answerSeries(
  { index, asOf, state }: Sources,
  { metric }: { readonly metric: SeriesMetric },
  query: ApiQuery<'series'>,
): Promise<ApiSeries> {
  const buckets = await index.series({ ...query, prefix: `${metric}/` });
  const lines = new Map<string, SeriesBucket[]>();
  for (const bucket of buckets) {
    const name = bucket.series.slice(metric.length + 1);
    lines.set(name, [...(lines.get(name) ?? []), bucket]);
  }
  return {
    ...{ asOf, metric, unit: unitOf[metric] },
    sampleCount: buckets.reduce((sum, { samples }) => sum + samples, 0),
    lines: [...lines].slice(0, 64).map(([name, points]) => ({ name, ...columnsOf(points) })),
    marks: await marksOf({ index, state }, query),
  };
}

const columnsOf = (points: readonly SeriesBucket[]) => ({
  atMs: points.map(({ atMs }) => atMs),
  countedTokens: points.map(({ countedTokens }) => countedTokens),
  value: points.map(({ value }) => value),
  low: points.map(({ low }) => low),
  high: points.map(({ high }) => high),
});

async function marksOf(
  { index, state }: Pick<Sources, 'index' | 'state'>,
  query: ApiQuery<'series'>,
): Promise<ApiSeries['marks']> {
  const { phases } = manifestOf(state);
  const { fromMs = 0, toMs = Infinity, fromTokens = 0, toTokens = Infinity } = query;
  const marks = [...(await index.marks('release', maxMarks)), ...(await index.marks('phase', 64))]
    .filter(
      ({ atMs, countedTokens }) =>
        atMs >= fromMs && atMs <= toMs && countedTokens >= fromTokens && countedTokens <= toTokens,
    )
    .sort((a, b) => a.seq - b.seq);
  return marks.slice(-maxMarks).map(({ kind, number, atMs, countedTokens }) => ({
    ...{
      kind: kind as 'release' | 'phase',
      index: number,
      label: (kind === 'phase' ? phases[number]?.name : null) ?? `${kind} ${number}`,
      atMs,
      countedTokens,
    },
  }));
}

export function answerFragments({ state, asOf, nowMs }: Sources): ApiFragments {
  const now = nowMs();
  const open = openClaims(state);
  const { due } = state;
  const isOf = (fragment: number) => (claim: (typeof open)[number]) => claim.body.fragment === fragment;
  return {
    ...{ asOf, nowMs: now },
    due:
      due === null
        ? null
        : {
            ...due,
            acceptedClaims: open.filter((claim) => claim.status === 'accepted').filter(isOf(due.fragment)).length,
          },
    fragments: state.fragments.map((each, fragment) => ({
      ...{ fragment, version: each.version, lastMergeMs: each.lastMergeMs, merges: each.merges },
      ageMs: each.lastMergeMs === null ? null : Math.max(0, now - each.lastMergeMs),
      mergesSinceRelease: each.mergesSinceRelease,
      contributors: each.contributors.map((id) => {
        const [hotkey, name] = id.split('/') as [Hotkey, string];
        return { hotkey, name };
      }),
      openClaims: open.filter(isOf(fragment)).length,
      isDue: due?.fragment === fragment,
      isMerging: each.pendingMerge !== null,
      artifact: each.artifact,
    })),
  };
}

export function mergeOf(row: MergeIndexRow): ApiMerge {
  const { outerStep, fragment, version, seq, atMs, durationMs, claims, learners, tokens, countedTokens } = row;
  const { maxNorm, maxClippedNorm, clipped, meanStaleness } = row;
  return {
    ...{ outerStep, fragment, version, seq, atMs, durationMs, claims, learners, tokens, countedTokens },
    ...{ maxNorm, maxClippedNorm, clipped, meanStaleness },
  };
}

export async function answerMerges({ index, asOf }: Sources, query: ApiQuery<'merges'>): Promise<ApiMerges> {
  const { rows, ...page } = await index.merges(query);
  return { asOf, rows: rows.map(mergeOf), ...page };
}

/** @throws NotThere */
export async function answerMerge(
  { index, asOf }: Sources,
  { outerStep }: { readonly outerStep: number },
): Promise<ApiMergeDetail> {
  const row = await index.merge(outerStep);
  if (row === null) throw new NotThere(`outer step ${outerStep} has no published merge`);
  const claims = await index.claimsOfMerge(outerStep);
  return {
    asOf,
    ...mergeOf(row),
    ...{ fromVersion: row.fromVersion, openedAtMs: row.openedAtMs, mergedAtMs: row.mergedAtMs },
    artifact: { root: row.artifactRoot, sizeBytes: row.artifactSizeBytes },
    momentum: { root: row.momentumRoot, sizeBytes: row.momentumSizeBytes },
    parts: claims.map(({ id, hotkey, name, tokens, staleness, mergeShare, norm, clippedNorm, code }) => ({
      ...{ claim: id, hotkey, name, tokens, code },
      ...{ staleness: staleness ?? 0, share: mergeShare ?? 0, norm: norm ?? 0, clippedNorm: clippedNorm ?? 0 },
      isClipped: (clippedNorm ?? 0) < (norm ?? 0),
    })),
  };
}
