/** @file A claim and what was said of it, as `claims/ID` and the lists of claims tell it. */
import { z } from 'zod';
import {
  artifact,
  asOf,
  code,
  count,
  hash,
  hotkey,
  name,
  number,
  numbers,
  pageOf,
  pageQuery,
  sentence,
  stepRange,
} from './common.ts';

export const claimStatus = z.enum([
  'committed',
  'beaconed',
  'revealed',
  'accepted',
  'refused',
  'voided',
  'merging',
  'merged',
]);

export const claimRowSchema = z.object({
  claim: hash,
  hotkey,
  name,
  outerStep: count,
  fragment: count,
  phase: count,
  /** Inner steps [from, to) of the learner's trace. */
  steps: stepRange,
  tokens: number,
  status: claimStatus,
  /** `OK`, or why it was refused or voided; null while undecided. */
  code: code.nullable(),
  sentence,
  seq: count,
  committedAtMs: count,
  revealedAtMs: count.nullable(),
  settledAtMs: count.nullable(),
  mergedAtMs: count.nullable(),
  /** Versions of its fragment that passed before it was merged; null before. */
  staleness: count.nullable(),
  /** Null unless merged. */
  mergeShare: number.nullable(),
  norm: number.nullable(),
  clippedNorm: number.nullable(),
  isPaid: z.boolean(),
  isDisputed: z.boolean(),
});
export type ApiClaimRow = z.infer<typeof claimRowSchema>;

export const verdictSchema = z.object({
  validator: hotkey,
  round: z.enum(['committee', 'recheck', 'ruling']),
  outcome: z.enum(['accept', 'ignore', 'reject']),
  code,
  sentence,
  measurements: numbers,
  atMs: count,
  /** Whether it is what was settled; null while nothing is. */
  agrees: z.boolean().nullable(),
});
export type ApiVerdict = z.infer<typeof verdictSchema>;

export const claimSchema = claimRowSchema.extend({
  asOf,
  baseVersion: count,
  leases: z.array(count),
  sequences: z.array(stepRange),
  artifact,
  trace: z.object({ artifact, lines: stepRange, previousHead: hash, head: hash }),
  beacon: z
    .object({
      block: count,
      blockHash: hash,
      committee: z.array(hotkey),
      recheck: hotkey.nullable(),
      gainTested: z.boolean(),
      atMs: count,
    })
    .nullable(),
  verdicts: z.array(verdictSchema),
  dispute: z
    .object({
      reason: z.enum(['disagreement', 'accusation', 'appeal']),
      openedAtMs: count,
      closedAtMs: count.nullable(),
    })
    .nullable(),
  /** What the miner can do; null where nothing was refused. */
  advice: sentence.nullable(),
});
export type ApiClaim = z.infer<typeof claimSchema>;

export const claimsQuery = z.strictObject({
  ...pageQuery,
  /** `refused` takes voided ones too; `open` all that wait. */
  status: z.enum(['all', 'open', 'refused', 'merged']).default('all'),
});
/** Newest first. */
export const claimsSchema = pageOf(claimRowSchema).extend({ asOf });
export type ApiClaims = z.infer<typeof claimsSchema>;
