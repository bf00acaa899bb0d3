/** @file What retention may name, over random runs, and that it waits for attestations, appeals and audits. */
import { describe, expect, it } from 'vitest';
import { DrivenRun, type Member } from '../../../tests/support/run-driver.ts';
import { codeOf, testArtifact, testManifest } from '../../../tests/support/run-fixture.ts';
import { mayBeJudged } from '../../journal/queries.ts';
import type { Claim } from '../../journal/state.ts';
import type { Hash } from '../../protocol/names.ts';
import { Rng } from '../../util/rng.ts';
import { Retention } from './retention.ts';

/** A run whose entries the retention follows. */
class Kept extends DrivenRun {
  readonly retention = new Retention();
  #folded = 0;

  follow(): void {
    for (; this.#folded < this.entries.length; this.#folded++)
      this.retention.onFold(this.state, this.entries[this.#folded]!.entry);
  }

  expired(needed?: ReadonlySet<Hash>): Hash[] {
    return this.retention.takeExpired(this.state, needed);
  }

  /** A claim of the next outer step, judged as told; merged if it was accepted. */
  claim(miner: Member, said: 'accept' | 'reject' = 'accept'): Claim {
    this.nowMs += 10;
    this.due();
    this.follow();
    if (this.state.learners.get(miner.id)!.leases.size === 0) this.lease(miner);
    expect(codeOf(this.commit(miner, 0)!)).toBe('OK');
    this.follow();
    const claim = [...this.state.claims.values()].at(-1)!;
    this.beacon(claim);
    this.reveal(claim);
    while (claim.status === 'revealed') {
      const member = this.validatorOf(claim.beacon!.committee[claim.verdicts.length]!);
      const details = testArtifact(`details ${claim.verdicts.length} ${claim.id}`);
      const refusal = said === 'reject' ? ({ outcome: 'reject', code: 'HARMFUL' } as const) : {};
      this.say(claim, member, 'committee', { ...refusal, details });
    }
    if (said === 'accept') {
      this.merge();
      this.follow();
      expect(codeOf(this.publish()!)).toBe('OK');
    }
    this.follow();
    return claim;
  }

  /** One merge of every fragment, and the release that it makes due. */
  segment(miner: Member): Claim[] {
    const claims = [this.claim(miner), this.claim(miner), this.claim(miner)];
    expect(codeOf(this.milestone(3))).toBe('OK');
    this.follow();
    return claims;
  }
}

function kept(attestations: number): { readonly run: Kept; readonly miner: Member } {
  const { release } = testManifest();
  const run = new Kept({ release: { ...release, attestations } });
  const [miner] = run.miners as [Member];
  run.join(miner);
  run.follow();
  run.milestone(3);
  run.follow();
  return { run, miner };
}

describe('Retention', () => {
  it('names superseded fragments and settled claims once, and never what is still in use', () => {
    const { sync, audit } = testManifest();
    const run = new Kept({ sync: { ...sync, stateRootEverySteps: 4 }, audit: { ...audit, perTempo: 2 } });
    const rng = new Rng(2);
    const expired: string[] = [];
    for (let i = 0; i < 8_000; i++) {
      run.do({ op: rng.below(40), a: rng.below(64), b: rng.below(64) });
      run.follow();
      const { state } = run;
      const answers = [...state.openAudits].flatMap((id) => state.audits.get(id)!.answer ?? []);
      const inUse = new Set([
        ...state.fragments.flatMap(({ artifact, momentum }) => [artifact.root, momentum?.root]),
        ...[...state.claims.values()]
          .filter((claim) => mayBeJudged(state, claim))
          .map(({ body }) => body.artifact.root),
        ...answers.flatMap(({ start, end }) => [start?.root, end.root]),
        ...state.run!.start.map(({ root }) => root),
      ]);
      for (const root of run.expired()) {
        expect(inUse.has(root), `step ${i}: ${root} is in use`).toBe(false);
        expired.push(root);
      }
    }
    expect(run.state.releases.length).toBeGreaterThan(3);
    expect(expired.length).toBeGreaterThan(5);
  });

  it('waits for releases and for attestations of the segment', () => {
    const { run, miner } = kept(2);
    const [first] = run.segment(miner) as [Claim];
    for (let i = 0; i < 3; i++) run.segment(miner);
    expect(run.state.releases.length).toBe(5);
    expect(run.expired()).toEqual([]);
    run.attest(run.validators[0]!, 1);
    expect(run.expired()).toEqual([]);
    run.attest(run.validators[1]!, 1);
    const gone = run.expired();
    // Claims of the segment with their details; the start stays, and so do the heads that later segments began from.
    expect(gone).toContain(first.body.artifact.root);
    for (const { details } of first.verdicts) expect(gone).toContain(details!.root);
    expect(gone).toHaveLength(3 * 3);
    run.attest(run.validators[0]!, 2);
    run.attest(run.validators[1]!, 2);
    // Three claims with two details each, three heads and their momenta that went into merges of segment 2.
    expect(run.expired()).toHaveLength(9 + 6);
    expect(run.expired()).toEqual([]);
  });

  it('keeps what somebody may still be judged by', () => {
    const { run, miner } = kept(0);
    const refused = run.claim(miner, 'reject');
    run.nowMs += 10_000;
    for (let i = 0; i < 5; i++) run.segment(miner);
    const root = refused.body.artifact.root;
    expect(run.expired()).not.toContain(root);
    run.nowMs += 600_000;
    run.segment(miner);
    for (let i = 0; i < 3; i++) run.segment(miner);
    expect(run.expired(new Set([root]))).not.toContain(root);
    expect(run.expired()).toContain(root);
  });
});
