/** @file What happens to a miner, what it decides, and what it knows: frozen data with a `kind`. */
import type { ArtifactRef } from '../../protocol/manifest.ts';
import type { Hash } from '../../protocol/names.ts';
import type { Range } from '../../util/ranges.ts';
import type { BatchTerms } from '../learner/schedule-position.ts';

/** What of the manifest the miner's decisions depend on. */
export interface MinerRules {
  readonly fragmentCount: number;
  /** Sequences of one inner step, at most. */
  readonly batchSequences: number;
  /** Inner steps between two claims of this learner, at least. */
  readonly innerStepsPerOuterStep: number;
  /** A joiner's own steps over which its learning rate rises from 0. */
  readonly joinWarmupSteps: number;
  /** S: steps between two state roots in the trace. */
  readonly stateRootEverySteps: number;
  /** Wait before a refused or unanswered lease request is repeated. */
  readonly leaseRetryMs: number;
}

/** Sequences [from, to) of a phase's order, and the schedule position at both ends. */
export interface Lease {
  readonly lease: number;
  readonly phase: number;
  readonly range: Range;
  readonly scheduleTokens: readonly [start: number, end: number];
  /** Absent: as the rules have it. */
  readonly batch?: BatchTerms;
}

export interface HeldLease extends Lease {
  /** First sequence that no inner step has read. */
  readonly next: number;
}

/** One inner step done, kept until every fragment's claim covers it. */
export interface StepRecord {
  /** Number in the learner's life-long count. */
  readonly step: number;
  readonly phase: number;
  /** In reading order. */
  readonly reads: readonly { readonly lease: number; readonly range: Range }[];
}

export interface ClaimPlan {
  readonly outerStep: number;
  readonly fragment: number;
  readonly baseVersion: number;
  readonly steps: Range;
  readonly phase: number;
  /** Sorted and disjoint. */
  readonly sequences: readonly Range[];
}

export interface TrainPlan {
  readonly step: number;
  readonly phase: number;
  /** In reading order. */
  readonly leases: readonly number[];
  /** Sorted and disjoint; together the batch that is due. */
  readonly sequences: readonly Range[];
  /** In the first step after the join: the version of each fragment that the learner began from. */
  readonly start: readonly number[] | null;
  /** Fragments taken in since the step before, with their versions, in order. */
  readonly takenIn: readonly (readonly [fragment: number, version: number])[];
  /** Fragments claimed since the step before, with their outer steps; as if all were taken in before. */
  readonly claimed: readonly (readonly [fragment: number, outerStep: number])[];
  readonly scheduleTokens: number;
  /** In (0, 1]: the joiner's factor on the learning rate. */
  readonly warmup: number;
  readonly withStateRoot: boolean;
}

/** A fragment version that others know and this learner has not taken in. */
export interface PendingVersion {
  readonly version: number;
  readonly artifact: ArtifactRef;
  readonly isFetched: boolean;
}

/** A claim from its plan until verdicts and merge no longer concern the learner. */
export interface OpenClaim {
  readonly fragment: number;
  readonly outerStep: number;
  /** Steps before this one are in the trace that the commit names. */
  readonly through: number;
  /** Null until the commit is journaled. */
  readonly claim: Hash | null;
  readonly stage: 'committing' | 'uploading';
}

export interface MinerState {
  readonly kind: 'joining' | 'training' | 'leaving' | 'left';
  readonly rules: MinerRules;
  /** Inner steps of the learner's life; of them, those before this process joined. */
  readonly innerSteps: number;
  readonly joinedAtStep: number;
  /** Steps before this one are covered by a journaled commit: their sequences are this learner's for good. */
  readonly committedThrough: number;
  /** At most two; the first is being read. */
  readonly leases: readonly HeldLease[];
  readonly leaseRequest: { readonly kind: 'none' | 'asked' } | { readonly kind: 'refused'; readonly retryAtMs: number };
  /** An inner step is running. */
  readonly isStepping: boolean;
  /** The newest outer step that is open for claims. */
  readonly due: { readonly outerStep: number; readonly fragment: number } | null;
  readonly lastClaimedOuterStep: number;
  readonly lastClaimStep: number;
  /** Per fragment: steps before this one are claimed (or void). */
  readonly claimedThrough: readonly number[];
  /** Per fragment: the version last taken in. */
  readonly versions: readonly number[];
  readonly pending: ReadonlyMap<number, PendingVersion>;
  /** Until the first step. */
  readonly start: TrainPlan['start'];
  /** Since the last step began, in order. */
  readonly takenIn: TrainPlan['takenIn'];
  readonly claimed: TrainPlan['claimed'];
  readonly records: readonly StepRecord[];
  readonly openClaims: readonly OpenClaim[];
}

export type MinerEvent =
  /** Params are loaded and the join is journaled. */
  | { readonly kind: 'joined'; readonly nowMs: number }
  | { readonly kind: 'lease-granted'; readonly lease: Lease; readonly nowMs: number }
  | { readonly kind: 'lease-refused'; readonly nowMs: number }
  /** The syncer took the lease back. */
  | { readonly kind: 'lease-ended'; readonly lease: number; readonly nowMs: number }
  | { readonly kind: 'fragment-due'; readonly outerStep: number; readonly fragment: number; readonly nowMs: number }
  | {
      readonly kind: 'fragment-published';
      readonly fragment: number;
      readonly version: number;
      readonly artifact: ArtifactRef;
      readonly nowMs: number;
    }
  | { readonly kind: 'fragment-fetched'; readonly fragment: number; readonly version: number; readonly nowMs: number }
  | { readonly kind: 'step-done'; readonly nowMs: number }
  | { readonly kind: 'claim-committed'; readonly outerStep: number; readonly claim: Hash; readonly nowMs: number }
  | { readonly kind: 'claim-revealed'; readonly claim: Hash; readonly nowMs: number }
  /** Commit or reveal was refused for good. */
  | { readonly kind: 'claim-failed'; readonly outerStep: number; readonly nowMs: number }
  /** The journal voided it: what is still being uploaded is worth nothing. */
  | { readonly kind: 'claim-voided'; readonly claim: Hash; readonly nowMs: number }
  | { readonly kind: 'stop'; readonly nowMs: number }
  | { readonly kind: 'tick'; readonly nowMs: number };

export type MinerEffect =
  | { readonly kind: 'request-lease' }
  | { readonly kind: 'return-lease'; readonly lease: number }
  | {
      readonly kind: 'fetch-fragment';
      readonly fragment: number;
      readonly version: number;
      readonly artifact: ArtifactRef;
    }
  | { readonly kind: 'take-in'; readonly fragment: number; readonly version: number }
  | { readonly kind: 'claim'; readonly plan: ClaimPlan }
  | { readonly kind: 'abandon-claim'; readonly claim: Hash }
  | { readonly kind: 'train'; readonly plan: TrainPlan }
  | { readonly kind: 'leave' };
