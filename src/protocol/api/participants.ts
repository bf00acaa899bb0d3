/** @file Miners, validators and the weights that pay them. */
import { z } from 'zod';
import {
  asOf,
  code,
  count,
  hotkey,
  name,
  number,
  numbers,
  pageOf,
  pageQuery,
  routers,
  sentence,
  share,
  stepRange,
} from './common.ts';

export const minerSort = z.enum([
  'tokens',
  'hotkey',
  'quality',
  'work',
  'reward',
  'staleness',
  'uptime',
  'lastClaim',
  'refused',
]);

export const minersQuery = z.strictObject({
  ...pageQuery,
  sort: minerSort.default('tokens'),
  order: z.enum(['asc', 'desc']).default('desc'),
  /** Beginning of a hotkey, or of a learner's name. */
  search: z
    .string()
    .regex(/^[A-Za-z0-9-]{1,64}$/, 'expected the beginning of a hotkey or of a name')
    .optional(),
  /** Only those with a learner that is present. */
  present: z.enum(['true', 'false']).optional(),
});

export const minerRowSchema = z.object({
  hotkey,
  /** Of its learners, in order. */
  learners: z.array(name).max(65_536),
  learnersPresent: count,
  /** Heard of lately; null where nobody listens (a snapshot). */
  isActive: z.boolean().nullable(),
  /** Merged tokens. */
  verifiedTokens: number,
  /** Accepted among its settled claims; null before the first. */
  quality: share.nullable(),
  claims: z.object({ committed: count, accepted: count, refused: count, voided: count, merged: count }),
  /** Of all merged tokens; of all that the ledger paid to miners; of the weights that an honest validator sets now. */
  workShare: share,
  rewardShare: share.nullable(),
  weight: share,
  emissionRao: number.nullable(),
  /** Mean over its merged claims, in versions; null before the first. */
  staleness: number.nullable(),
  /** Time with a learner present over the time since it first joined. */
  uptime: share,
  firstJoinedAtMs: count,
  lastClaimAtMs: count.nullable(),
  lastCode: code.nullable(),
  lastSentence: sentence,
  audits: z.object({ open: count, passed: count, failed: count }),
  /** Of the last heartbeats, summed; null without any. */
  tokensPerSecond: number.nullable(),
});
export type ApiMinerRow = z.infer<typeof minerRowSchema>;
export const minersSchema = pageOf(minerRowSchema).extend({ asOf });
export type ApiMiners = z.infer<typeof minersSchema>;

export const learnerSchema = z.object({
  name,
  isPresent: z.boolean(),
  isActive: z.boolean().nullable(),
  joinedAtMs: count,
  lastAtMs: count,
  threads: count,
  memoryGib: count,
  machineClass: name,
  innerSteps: count,
  verifiedTokens: number,
  openLeases: count,
  lastCode: code.nullable(),
  lastSentence: sentence,
  loss: number.nullable(),
  tokensPerSecond: number.nullable(),
  routers: routers.nullable(),
});

/** What `accrete explain HOTKEY` says, but for the claims, which are a page of their own. */
export const minerSchema = minerRowSchema.extend({
  asOf,
  learnerDetails: z.array(learnerSchema),
  /** Decayed sums that the weights follow from. */
  score: number,
  verdictScore: number,
  ledger: z.object({ uid: count, stakeRao: number, emissionRao: number, incentive: number }).nullable(),
  openTempo: z.object({ tokens: number, heldTokens: number, isCleared: z.boolean() }),
  /** As a validator; null if it may judge or never did. */
  barred: sentence.nullable(),
  forfeits: z.array(z.object({ audit: count, code, tokens: number, atMs: count })),
  /** Oldest first, the newest 256. */
  tempos: z.array(
    z.object({
      tempo: count,
      tokens: number,
      heldTokens: number,
      verdicts: count,
      share,
      emissionRao: number.nullable(),
    }),
  ),
  auditDetails: z.array(
    z.object({
      audit: count,
      learner: name,
      steps: stepRange,
      reason: z.enum(['drawn', 'resemblance', 'no-gain']),
      status: z.enum(['open', 'answered', 'passed', 'failed', 'unchecked']),
      code: code.nullable(),
      sentence,
      measurements: numbers,
      openedAtMs: count,
      settledAtMs: count.nullable(),
      advice: sentence.nullable(),
    }),
  ),
  /** Claims by code, for a bar of what went wrong. */
  claimCodes: z.record(z.string().max(64), count),
});
export type ApiMiner = z.infer<typeof minerSchema>;

export const validatorSchema = z.object({
  hotkey,
  names: z.array(name),
  isActive: z.boolean().nullable(),
  machineClass: z.string().max(64).nullable(),
  stakeRao: number.nullable(),
  validatorPermit: z.boolean().nullable(),
  verdicts: count,
  byOutcome: z.object({ accept: count, ignore: count, reject: count }),
  /** Of its settled verdicts, those that agreed; null before the first. */
  agreement: share.nullable(),
  settledVerdicts: count,
  overruledVerdicts: count,
  audits: count,
  evaluations: count,
  attestations: count,
  lastVerdictAtMs: count.nullable(),
  /** Median time from reveal to verdict, of its last 200; null before the first. */
  medianVerdictMs: number.nullable(),
  weightsSetAtBlock: count.nullable(),
  /** Of the last epoch, summing to 1 over validators. */
  dividends: number.nullable(),
  validatorTrust: number.nullable(),
  emissionRao: number.nullable(),
  verdictScore: number,
  barred: z.object({ sentence, atMs: count }).nullable(),
});
export type ApiValidator = z.infer<typeof validatorSchema>;
/** By verdicts, most first. */
export const validatorsSchema = z.object({ asOf, rows: z.array(validatorSchema).max(65_536) });
export type ApiValidators = z.infer<typeof validatorsSchema>;

/** Only columns and rows that hold something; uids index `neurons`. */
export const weightsSchema = z.object({
  asOf,
  /** Block and tempo of the last epoch; null before the first. */
  atBlock: count.nullable(),
  tempo: count.nullable(),
  neurons: z.array(
    z.object({
      uid: count,
      hotkey,
      role: z.enum(['miner', 'validator', 'both', 'other']),
      stakeRao: number,
      consensus: number,
      incentive: number,
      dividends: number,
    }),
  ),
  rows: z.array(
    z.object({
      uid: count,
      setAtBlock: count,
      validatorTrust: number,
      /** `[uid, share]`, shares of a row summing to 1. */
      weights: z.array(z.tuple([count, share])),
    }),
  ),
  /** What an honest validator sets now, from the journal. */
  expected: z.array(z.object({ hotkey, weight: share })),
});
export type ApiWeights = z.infer<typeof weightsSchema>;
