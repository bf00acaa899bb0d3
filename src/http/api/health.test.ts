/** @file The word of health and its reason, as a run comes up, goes on, loses its people and ends. */
import { beforeAll, describe, expect, it } from 'vitest';
import { DrivenRun } from '../../../tests/support/run-driver.ts';
import { openClaims } from '../../journal/queries.ts';
import type { RunState } from '../../journal/state.ts';
import { healthOf } from './health.ts';

const nobody = { isEnded: false, activeLearners: 3, activeValidators: 3 };
const at = (state: RunState, afterMs = 0) => ({ ...nobody, state, nowMs: state.lastTimeMs + afterMs });

describe('health', () => {
  let merged: DrivenRun;
  beforeAll(() => {
    merged = new DrivenRun();
    for (const miner of merged.miners) merged.join(miner);
    for (const miner of merged.miners) merged.lease(miner);
    merged.due();
    for (const miner of merged.miners) merged.commit(miner, 0);
    for (const claim of openClaims(merged.state)) merged.beacon(claim);
    for (const claim of openClaims(merged.state)) merged.reveal(claim);
    for (const claim of openClaims(merged.state))
      for (const hotkey of claim.beacon!.committee) merged.say(claim, merged.validatorOf(hotkey), 'committee');
    merged.merge();
    merged.publish();
    expect(merged.state.merges).toBe(1);
  });

  it('starts without miners, then without merges', () => {
    const run = new DrivenRun();
    expect(healthOf(at(run.state))).toMatchObject({ word: 'starting', reason: 'no miner has joined yet' });
    run.join(run.miners[0]!);
    expect(healthOf(at(run.state))).toMatchObject({ word: 'starting', reason: 'miners train their first steps' });
  });

  it('is healthy while merges come, and stalled once none came for three deadlines', () => {
    const { state } = merged;
    const { deadlineMs } = merged.manifest.sync;
    expect(healthOf(at(state, 1_000)).word).toBe('healthy');
    expect(healthOf(at(state, 3 * deadlineMs - 1)).word).toBe('healthy');
    expect(healthOf(at(state, 3 * deadlineMs))).toMatchObject({
      word: 'stalled',
      sinceMs: state.recentMerges[0]!.atMs,
    });
    expect(healthOf({ ...at(state, 3 * deadlineMs), activeLearners: 0 }).reason).toMatch(/^no learner/);
    expect(healthOf({ ...at(state, 3 * deadlineMs), activeValidators: 0 }).reason).toMatch(/^no validator/);
  });

  it('is degraded where a part is missing, and does not guess where nobody listens', () => {
    const view = at(merged.state, 1_000);
    expect(healthOf({ ...view, activeValidators: 0 })).toMatchObject({ word: 'degraded' });
    expect(healthOf({ ...view, activeValidators: 1 }).reason).toBe('1 of the 2 validators of a committee are active');
    expect(healthOf({ ...view, activeLearners: 1 }).reason).toMatch(/^1 learners are active, a quorum is 2/);
    expect(healthOf({ ...view, activeLearners: null, activeValidators: null }).word).toBe('healthy');
    expect(healthOf({ ...view, isEnded: true }).word).toBe('ended');
  });
});
