/** @file The run's health: one word, its reason for people, and since when. Pure. */
import { manifestOf } from '../../journal/queries.ts';
import type { RunState } from '../../journal/state.ts';
import type { ApiHealth } from '../../protocol/api/run.ts';

export interface HealthView {
  readonly state: RunState;
  readonly nowMs: number;
  readonly isEnded: boolean;
  /** Heard of lately; null where nobody listens to heartbeats. */
  readonly activeLearners: number | null;
  readonly activeValidators: number | null;
}

/** Outer steps without a merge (at their deadline) after which the run stands still. */
const stalledAfterSteps = 3;

export function healthOf(view: HealthView): ApiHealth {
  const { state, nowMs, isEnded } = view;
  if (isEnded) return { word: 'ended', reason: 'the run was stopped; its record stays', sinceMs: state.lastTimeMs };
  return startingOf(view) ?? stalledOf(view) ?? degradedOf(view) ?? healthyOf(state, nowMs);
}

const startedAtMs = (state: RunState): number => state.releases[0]?.atMs ?? manifestOf(state).createdAtMs;

function startingOf({ state }: HealthView): ApiHealth | null {
  if (state.merges > 0) return null;
  const joined = [...state.learners.values()].map(({ joinedAtMs }) => joinedAtMs);
  if (joined.length === 0) return { word: 'starting', reason: 'no miner has joined yet', sinceMs: startedAtMs(state) };
  const open = state.openClaims.size;
  const reason = open === 0 ? 'miners train their first steps' : `the first ${open} claims are on their way`;
  return { word: 'starting', reason, sinceMs: Math.min(...joined) };
}

function lastMergeMs(state: RunState): number {
  return state.recentMerges.at(-1)?.atMs ?? startedAtMs(state);
}

function stalledOf({ state, nowMs, activeLearners, activeValidators }: HealthView): ApiHealth | null {
  const sinceMs = lastMergeMs(state);
  if (nowMs - sinceMs < stalledAfterSteps * manifestOf(state).sync.deadlineMs) return null;
  const stalled = (reason: string): ApiHealth => ({ word: 'stalled', reason, sinceMs });
  if (activeLearners === null)
    return stalled(
      'the record goes no further: the syncer is away or stopped; learners keep training what they have leased',
    );
  if (activeLearners === 0) return stalled('no learner has been heard of lately: nothing is trained');
  if (activeValidators === 0) return stalled('no validator has been heard of lately: claims wait for verdicts');
  const open = state.openClaims.size;
  return stalled(open === 0 ? 'nothing was claimed lately' : `${open} claims wait, and none was merged`);
}

function degradedOf({ state, activeLearners, activeValidators }: HealthView): ApiHealth | null {
  const { sync, evaluation } = manifestOf(state);
  const degraded = (reason: string): ApiHealth => ({ word: 'degraded', reason, sinceMs: lastMergeMs(state) });
  if (activeValidators === 0) return degraded('no validator has been heard of lately: new claims wait for verdicts');
  if (activeValidators !== null && activeValidators < evaluation.committee)
    return degraded(`${activeValidators} of the ${evaluation.committee} validators of a committee are active`);
  if (activeLearners !== null && activeLearners < sync.quorum)
    return degraded(
      `${activeLearners} learners are active, a quorum is ${sync.quorum}: merges wait for their deadline`,
    );
  if (state.openDisputes.size > 0) return degraded(`${state.openDisputes.size} claims are before all validators`);
  return null;
}

function healthyOf(state: RunState, nowMs: number): ApiHealth {
  const merges = state.recentMerges;
  const [first, last] = [merges[0]!, merges.at(-1)!];
  const every = merges.length < 2 ? null : (last.atMs - first.atMs) / (merges.length - 1) / 1_000;
  const age = Math.max(0, Math.round((nowMs - last.atMs) / 1_000));
  const reason =
    every === null ? `merged ${age} s ago` : `a merge every ${every < 10 ? every.toFixed(1) : Math.round(every)} s`;
  return { word: 'healthy', reason, sinceMs: first.atMs };
}
