/** @file `series`, `fragments` and `merges`: what training does over time. */
import { z } from 'zod';
import { artifact, asOf, code, count, hash, hotkey, name, number, pageOf, pageQuery, queryInteger } from './common.ts';

/** Each is answered by `series/METRIC`; a path and no question, so that a snapshot can hold them all. */
export const seriesMetric = z.enum([
  /** Mean of the learners' heartbeats, as the orchestrator sampled them; one line. Not in the journal. */
  'training-loss',
  /** Nats a token on held-out text, a line for each stage, and for each `STAGE/SOURCE` where a validator told it. */
  'held-out-loss',
  /** Merged tokens a second; one line. */
  'throughput',
  /** Of the learners' heartbeats; one line. Not in the journal. */
  'trained-throughput',
  /** Of releases, on held-out text: `entropy`, `imbalance`, `deadExperts`. */
  'router-health',
  /** Of settled gain tests, nats a token: `gain`. */
  'gain',
  /** Of merged claims: median `norm` and `clippedNorm`. */
  'norm',
  /** Of merged claims, in versions: `staleness`. */
  'staleness',
  /** Reveal to publication and the merge itself: `revealToPublishMs`, `mergeDurationMs`. */
  'latency',
  /** Learners in each merge, and hotkeys present: `learners`, `present`. */
  'participation',
]);
export type SeriesMetric = z.infer<typeof seriesMetric>;

export const maxSeriesPoints = 2_000;

/** Windows in time or in counted tokens (zooming); both may be given. */
export const seriesQuery = z.strictObject({
  points: z.coerce.number().int().min(2).max(maxSeriesPoints).default(500),
  fromMs: queryInteger.optional(),
  toMs: queryInteger.optional(),
  fromTokens: queryInteger.optional(),
  toTokens: queryInteger.optional(),
});

/** Columns of one length, ascending in time. A point that stands for several is their mean; `low` and `high` bound them. */
const line = z.object({
  name: z.string().max(130),
  atMs: z.array(number).max(maxSeriesPoints),
  countedTokens: z.array(number).max(maxSeriesPoints),
  value: z.array(number).max(maxSeriesPoints),
  low: z.array(number).max(maxSeriesPoints),
  high: z.array(number).max(maxSeriesPoints),
});

export const seriesSchema = z.object({
  asOf,
  metric: seriesMetric,
  unit: z.string().max(32),
  /** All points that there are in the window, before they were thinned out. */
  sampleCount: count,
  lines: z.array(line).max(64),
  /** The newest 500 of the window. */
  marks: z
    .array(
      z.object({ kind: z.enum(['release', 'phase']), index: count, label: name, atMs: count, countedTokens: number }),
    )
    .max(500),
});
export type ApiSeries = z.infer<typeof seriesSchema>;

export const fragmentsSchema = z.object({
  asOf,
  nowMs: count,
  /** The open outer step; null between two. */
  due: z
    .object({ outerStep: count, fragment: count, openedAtMs: count, deadlineMs: count, acceptedClaims: count })
    .nullable(),
  fragments: z
    .array(
      z.object({
        fragment: count,
        version: count,
        lastMergeMs: count.nullable(),
        /** Null before the first merge. */
        ageMs: number.nullable(),
        merges: count,
        mergesSinceRelease: count,
        /** Of the last merge. */
        contributors: z.array(z.object({ hotkey, name })).max(65_536),
        /** Claims of it that wait. */
        openClaims: count,
        isDue: z.boolean(),
        /** A merge was decided, its result is being computed. */
        isMerging: z.boolean(),
        artifact,
      }),
    )
    .max(4_096),
});
export type ApiFragments = z.infer<typeof fragmentsSchema>;

export const mergeSchema = z.object({
  outerStep: count,
  fragment: count,
  /** Of the fragment, after it. */
  version: count,
  seq: count,
  atMs: count,
  /** What the syncer took to compute it. */
  durationMs: count,
  claims: count,
  learners: count,
  tokens: number,
  /** Counted tokens of the run after it. */
  countedTokens: number,
  /** Of the claims: greatest norm before and after clipping, how many were clipped, mean staleness in versions. */
  maxNorm: number,
  maxClippedNorm: number,
  clipped: count,
  meanStaleness: number,
});
export type ApiMerge = z.infer<typeof mergeSchema>;

export const mergesQuery = z.strictObject({ ...pageQuery, fragment: queryInteger.optional() });
/** Newest first. */
export const mergesSchema = pageOf(mergeSchema).extend({ asOf });
export type ApiMerges = z.infer<typeof mergesSchema>;

export const mergeDetailSchema = mergeSchema.extend({
  asOf,
  fromVersion: count,
  openedAtMs: count.nullable(),
  mergedAtMs: count,
  artifact,
  momentum: artifact,
  /** In merge order. */
  parts: z
    .array(
      z.object({
        claim: hash,
        hotkey,
        name,
        tokens: number,
        staleness: count,
        share: number,
        norm: number,
        clippedNorm: number,
        isClipped: z.boolean(),
        code: code.nullable(),
      }),
    )
    .max(65_536),
});
export type ApiMergeDetail = z.infer<typeof mergeDetailSchema>;
