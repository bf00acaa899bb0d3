/** @file All answers of `GET /api/v1/…` as data: the server's routes, the OpenAPI document and snapshots follow from it. */
import { z } from 'zod';
import { claimSchema, claimsQuery, claimsSchema } from './claims.ts';
import { hash, hotkey, noQuery } from './common.ts';
import { minerSchema, minersQuery, minersSchema, validatorsSchema, weightsSchema } from './participants.ts';
import { recordSchema, releaseSchema, releasesSchema, rewardsSchema } from './record.ts';
import { overviewSchema, runSchema } from './run.ts';
import {
  fragmentsSchema,
  mergeDetailSchema,
  mergesQuery,
  mergesSchema,
  seriesMetric,
  seriesQuery,
  seriesSchema,
} from './training.ts';

export const apiBase = '/api/v1';

export interface ApiRoute {
  /** Below `/api/v1/`; parameters as `:name`. */
  readonly path: string;
  readonly summary: string;
  readonly params: z.ZodObject;
  readonly query: z.ZodObject;
  readonly answer: z.ZodObject;
  /** Its answers change without the journal: no 304 by its length. */
  readonly isLive?: boolean;
}

const none = z.strictObject({});
const byHotkey = z.strictObject({ hotkey });
const number = z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

export const apiRoutes = {
  run: {
    path: 'run',
    summary: 'What the run is: model, phases, ledger, and how to join',
    params: none,
    query: noQuery,
    answer: runSchema,
  },
  overview: {
    path: 'overview',
    summary: 'How the run goes now',
    params: none,
    query: noQuery,
    answer: overviewSchema,
    isLive: true,
  },
  series: {
    path: 'series/:metric',
    summary: 'One metric over time and tokens, thinned out',
    params: z.strictObject({ metric: seriesMetric }),
    query: seriesQuery,
    answer: seriesSchema,
  },
  fragments: {
    path: 'fragments',
    summary: 'Every fragment: version, age, contributors, what is due',
    params: none,
    query: noQuery,
    answer: fragmentsSchema,
    isLive: true,
  },
  merges: { path: 'merges', summary: 'Merges, newest first', params: none, query: mergesQuery, answer: mergesSchema },
  merge: {
    path: 'merges/:outerStep',
    summary: 'One merge with its claims',
    params: z.strictObject({ outerStep: number }),
    query: noQuery,
    answer: mergeDetailSchema,
  },
  miners: {
    path: 'miners',
    summary: 'Miners, sorted and searched',
    params: none,
    query: minersQuery,
    answer: minersSchema,
    isLive: true,
  },
  miner: {
    path: 'miners/:hotkey',
    summary: "Why a miner's score is what it is",
    params: byHotkey,
    query: noQuery,
    answer: minerSchema,
    isLive: true,
  },
  minerClaims: {
    path: 'miners/:hotkey/claims',
    summary: "A miner's claims, newest first",
    params: byHotkey,
    query: claimsQuery,
    answer: claimsSchema,
  },
  claim: {
    path: 'claims/:claim',
    summary: 'One claim with its verdicts',
    params: z.strictObject({ claim: hash }),
    query: noQuery,
    answer: claimSchema,
  },
  validators: {
    path: 'validators',
    summary: 'Validators: verdicts, agreement, dividends',
    params: none,
    query: noQuery,
    answer: validatorsSchema,
    isLive: true,
  },
  weights: {
    path: 'weights',
    summary: 'The weights matrix and consensus of the last tempo',
    params: none,
    query: noQuery,
    answer: weightsSchema,
    isLive: true,
  },
  releases: {
    path: 'releases',
    summary: 'The lineage of releases',
    params: none,
    query: noQuery,
    answer: releasesSchema,
  },
  release: {
    path: 'releases/:release',
    summary: 'One release: evaluations, files, commands, model card',
    params: z.strictObject({ release: number }),
    query: noQuery,
    answer: releaseSchema,
  },
  record: {
    path: 'record',
    summary: 'Tree heads, anchors and attested segments',
    params: none,
    query: noQuery,
    answer: recordSchema,
    isLive: true,
  },
  rewards: {
    path: 'rewards',
    summary: 'Emission by tempo, and what verified tokens were paid',
    params: none,
    query: noQuery,
    answer: rewardsSchema,
    isLive: true,
  },
} as const satisfies Record<string, ApiRoute>;

export type ApiRouteName = keyof typeof apiRoutes;
export type ApiAnswer<N extends ApiRouteName> = z.infer<(typeof apiRoutes)[N]['answer']>;
/** What a handler reads: defaults filled in, numbers as numbers. */
export type ApiQuery<N extends ApiRouteName> = z.output<(typeof apiRoutes)[N]['query']>;
export type ApiParams<N extends ApiRouteName> = z.output<(typeof apiRoutes)[N]['params']>;
