/** @file What a hotkey is told: claims with verdicts and shares, what was refused with what to do, tempos and pay. */
import { describe, expect, it } from 'vitest';
import { DrivenRun } from '../../tests/support/run-driver.ts';
import { testHotkey } from '../../tests/support/run-fixture.ts';
import { hashOfText } from '../protocol/hash.ts';
import { Explainer } from './explain.ts';
import type { Claim } from './state.ts';

function openRun(): { readonly run: DrivenRun; readonly explainer: Explainer } {
  const run = new DrivenRun();
  for (const miner of run.miners) {
    run.join(miner);
    run.lease(miner);
  }
  run.due();
  return { run, explainer: new Explainer() };
}

/** Commits, reveals and judges one claim of a miner; `b` picks what the committee says (`run-driver.ts`). */
function claimed(run: DrivenRun, miner: DrivenRun['miners'][number], b: number): Claim {
  run.commit(miner, 0);
  const claim = [...run.state.claims.values()].at(-1)!;
  run.beacon(claim);
  run.reveal(claim);
  for (let i = 0; i < claim.beacon!.committee.length; i++) run.verdict(claim, b);
  return claim;
}

describe('an explained hotkey', () => {
  it('is told of each claim what was said, what it counts and what its part in the merge was', () => {
    const { run, explainer } = openRun();
    const miner = run.miners[0]!;
    const claim = claimed(run, miner, 2);
    run.merge();
    run.publish();
    for (const { entry } of run.entries) explainer.onFold(run.state, entry);
    const told = explainer.explain(run.state, miner.hotkey.hotkey)!;
    expect(told.claims).toHaveLength(1);
    expect(told.claims[0]).toMatchObject({
      ...{ claim: claim.id, status: 'merged', code: 'OK', advice: null, isPaid: true, mergeShare: 1 },
      leases: [...run.state.leases.values()].filter(({ learner }) => learner === miner.id).map(({ id }) => id),
      tokens: claim.cellTokens / run.manifest.fragments.count,
    });
    expect(told.claims[0]!.verdicts.map(({ code }) => code)).toEqual(['OK', 'OK']);
    expect(told.openTempo).toMatchObject({ tokens: told.claims[0]!.tokens, isCleared: true });
  });

  it('is told what to change where a claim was refused, and what a closed tempo paid', () => {
    const { run, explainer } = openRun();
    const tempo = (tempo: number) =>
      run.must('tempo', { tempo, block: tempo * 10, blockHash: hashOfText(`tempo ${tempo}`) });
    tempo(0);
    const [a, b] = [run.miners[0]!, run.miners[2]!]; // of two hotkeys
    claimed(run, a, 0);
    claimed(run, b, 2);
    run.merge();
    run.publish();
    for (const { entry } of run.entries) explainer.onFold(run.state, entry);
    tempo(1);
    const refused = explainer.explain(run.state, a.hotkey.hotkey)!;
    expect(refused.claims[0]).toMatchObject({ status: 'refused', code: 'HARMFUL', isPaid: false, mergeShare: null });
    expect(refused.claims[0]!.advice).toMatch(/check that the leased text was read/);
    expect(refused.weight).toBe(0);
    const paid = explainer.explain(run.state, b.hotkey.hotkey)!;
    expect(paid.score).toBeGreaterThan(0);
    expect(paid.weight).toBeGreaterThan(0.5);
    expect(paid.tempos.at(-1)).toMatchObject({ share: 1, heldTokens: 0 });
  });

  it('is nobody whom the run does not know', () => {
    const { run, explainer } = openRun();
    expect(explainer.explain(run.state, testHotkey('stranger').hotkey)).toBeNull();
  });
});
