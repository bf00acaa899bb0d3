/** @file What the orchestrator's step knows beside the journal, what can happen to it, and what it can ask for. */
import type { RunState } from '../../journal/state.ts';
import type { GraceAverages } from '../../merge/grace.ts';
import type { Role, RunEvent } from '../../protocol/messages.ts';
import type { Hash, Hotkey, LearnerId } from '../../protocol/names.ts';

export interface BlockRef {
  readonly number: number;
  readonly hash: Hash;
}

/** Progress of an asked-for end: no more leases, claims drain, then done. */
export type StopState = 'running' | 'stopping' | 'stopped';

/** Everything but the fold can be lost in a crash: it is rebuilt from heartbeats, blocks and time. */
export interface OrchestratorState {
  /** The fold of the journal; the shell owns it and changes it between steps. */
  readonly run: RunState;
  /** Time of the first event: who was present then is taken as alive until he stays silent from there on. */
  readonly startedAtMs: number | null;
  readonly head: BlockRef | null;
  /** Recent blocks by number. */
  readonly blocks: ReadonlyMap<number, Hash>;
  /**
   * Ledger height when a claim was committed, or (after a restart, or blocks that were not seen) a later one. This map and the other
   * three of what is `seen` belong to the step and are changed in place, as the fold is: a copy for each heartbeat of 10,000 learners
   * cost more than all else that the step does.
   */
  readonly commitBlocks: Map<Hash, number>;
  /** Last heartbeat of each validator's hotkey and each learner. */
  readonly validatorsSeen: Map<Hotkey, number>;
  readonly learnersSeen: Map<LearnerId, number>;
  readonly stakeRao: ReadonlyMap<Hotkey, number>;
  /** When the due outer step had its quorum of accepted claims. */
  readonly quorumAtMs: number | null;
  readonly averages: GraceAverages;
  /** Time of each learner's last commit. */
  readonly committedAtMs: Map<LearnerId, number>;
  /** Effects under way, by key. */
  readonly busy: ReadonlySet<string>;
  /** An own event is on its way into the journal: the next is decided after it. */
  readonly isJournaling: boolean;
  /** Effects that were done; the next tick starts a failed one again. */
  readonly finished: ReadonlySet<string>;
  /** Rules that found nothing since they were asked last; changed in place. */
  readonly quiet: Set<Rule>;
  /** How many learners live, counted now and then; changed in place. */
  readonly pace: { atMs: number; learners: number; merging: number };
  /** Leases to look at: of learners that joined or left, and, from `fromMs` on, all; changed in place. */
  readonly leaseCheck: { readonly moved: Set<LearnerId>; fromMs: number };
  /** Fragments published since stale claims were looked for; changed in place. */
  readonly staleCheck: Set<number>;
  /** The learner that the open outer step was seen to wait for last; changed in place. */
  readonly awaited: { learner: LearnerId | null };
  readonly stop: { readonly state: StopState; readonly atMs: number };
}

/** Says the event that is due by it, or that none is. */
export type Rule = (state: OrchestratorState, nowMs: number) => RunEvent | null;

export type OrchestratorEvent =
  | { readonly kind: 'journaled'; readonly event: RunEvent; readonly id: Hash; readonly nowMs: number }
  | { readonly kind: 'block'; readonly block: BlockRef; readonly nowMs: number }
  | {
      readonly kind: 'heartbeat';
      readonly role: Role;
      readonly hotkey: Hotkey;
      readonly learner: LearnerId;
      readonly nowMs: number;
    }
  | { readonly kind: 'stake'; readonly stakeRao: ReadonlyMap<Hotkey, number>; readonly nowMs: number }
  /** The own event was journaled, or refused because the state had moved on. */
  | { readonly kind: 'settled'; readonly nowMs: number }
  | { readonly kind: 'done' | 'failed'; readonly key: string; readonly nowMs: number }
  | { readonly kind: 'stop'; readonly nowMs: number }
  | { readonly kind: 'tick'; readonly nowMs: number };

export type OrchestratorEffect =
  /** Append one event, signed by the syncer, and feed `journaled` back before anything else. */
  | { readonly kind: 'journal'; readonly event: RunEvent }
  /** Do the pending merge of a fragment and journal `fragment-published`. */
  | { readonly kind: 'compute-merge'; readonly key: string; readonly fragment: number }
  /** Put the newest tree head on the ledger. */
  | { readonly kind: 'anchor'; readonly key: string; readonly root: Hash; readonly size: number }
  /** Write a release's folder, with the evaluations that are there. */
  | { readonly kind: 'write-release'; readonly key: string; readonly release: number };
