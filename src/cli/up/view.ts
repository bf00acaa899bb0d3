/** @file What the running view knows of a network: plain data, made from `GET /status` and from the supervisor. */

import type { RoutersStatus } from '../../http/status.ts';

export interface MinerView {
  readonly name: string;
  readonly present: boolean;
  readonly innerSteps: number;
  readonly tokensPerSecond: number;
  readonly loss: number | null;
  readonly accepted: number;
  readonly rejected: number;
  /** Code of its last verdict and what that means to it; null before the first. */
  readonly lastCode: string | null;
  readonly lastSentence: string | null;
  /** Claims on their way. */
  readonly open: number;
  /** Of all counted tokens, in [0, 1]. */
  readonly share: number;
  readonly tokens: number;
  /** By the ledger, so far. */
  readonly paidRao: number;
}

export interface ValidatorView {
  readonly name: string;
  readonly verdicts: number;
}

export interface FragmentView {
  readonly fragment: number;
  readonly version: number;
  /** Since its last merge; null before the first. */
  readonly ageMs: number | null;
}

export interface MergeView {
  readonly outerStep: number;
  readonly fragment: number;
  readonly version: number;
  readonly learners: number;
  readonly tokens: number;
  readonly atMs: number;
}

export interface ReleaseView {
  readonly release: number;
  readonly tokens: number;
  /** By held-out stage: `held-out`, `held-out-other`; empty until it is evaluated. */
  readonly losses: Readonly<Record<string, number>>;
}

/** A child process of `accrete up`. */
export interface ProcessView {
  readonly name: string;
  readonly state: 'running' | 'waiting' | 'stopped';
  readonly restarts: number;
}

export interface PhaseView {
  readonly index: number;
  readonly count: number;
  readonly name: string;
  readonly targetTokens: number;
  readonly countedTokens: number;
  readonly sequenceLength: number;
  readonly gates: readonly { readonly gate: string; readonly isHeld: boolean; readonly found: string }[];
}

export interface NetworkView {
  readonly phase: PhaseView;
  readonly preset: string;
  readonly runId: string;
  readonly parameters: number;
  readonly tokens: number;
  readonly tokensPerSecond: number;
  readonly innerSteps: number;
  readonly outerSteps: number;
  readonly rejected: number;
  /** How the miners' routers share their tokens; null until one has told. */
  readonly routers: RoutersStatus | null;
  readonly miners: readonly MinerView[];
  readonly validators: readonly ValidatorView[];
  readonly fragments: readonly FragmentView[];
  /** Newest first. */
  readonly merges: readonly MergeView[];
  readonly mergeCount: number;
  /** Newest first. */
  readonly releases: readonly ReleaseView[];
  readonly releaseCount: number;
  /** Before training, by held-out stage. */
  readonly initialLosses: Readonly<Record<string, number>>;
}

/** What the view shows beside the network itself. */
export interface ViewFrame {
  readonly network: NetworkView;
  /** Of the dashboard. */
  readonly url: string;
  readonly processes: readonly ProcessView[];
  /** Training loss of the miners over time, oldest first. */
  readonly trainingLosses: readonly number[];
  /** Since the first inner step of this start; null before it. */
  readonly elapsedMs: number | null;
  readonly limitMs: number | null;
  readonly limitTokens: number | null;
  /** The last thing that happened. */
  readonly lastEvent: string;
}

/** Mean of the miners' last losses, weighted by nothing: they run the same batch. */
export function trainingLossOf(network: NetworkView): number | null {
  const losses = network.miners.filter((m) => m.present).flatMap((m) => (m.loss === null ? [] : [m.loss]));
  return losses.length === 0 ? null : losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
}

/** The newest evaluation of a held-out stage, and all of them oldest first. */
export function heldOutLosses(network: NetworkView, stage: string): readonly number[] {
  const later = [...network.releases].reverse().flatMap((release) => release.losses[stage] ?? []);
  const first = network.initialLosses[stage];
  return first === undefined ? later : [first, ...later];
}
