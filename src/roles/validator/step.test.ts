/** @file What a validator does next: weights, claims, releases, and replays beside them; failures after the rest. */

import { describe, expect, it } from 'vitest';
import { DrivenRun, type Member } from '../../../tests/support/run-driver.ts';
import { setStatus } from '../../journal/indexes.ts';
import type { Audit } from '../../journal/state.ts';
import { hashOfText } from '../../protocol/hash.ts';
import type { ValidatorEffect, ValidatorEvent, ValidatorState } from './events.ts';
import { step } from './step.ts';

/** One validator of a run in which a committee of all three is drawn. */
class Validator {
  readonly run = new DrivenRun();
  readonly member = this.run.validators[0]!;
  readonly effects: ValidatorEffect[] = [];
  state: ValidatorState = {
    run: this.run.state,
    hotkey: this.member.hotkey.hotkey,
    busy: null,
    replaying: null,
    lastFailed: null,
    sent: new Set(),
    weightsTempo: -1,
    block: 0,
    weightsBlock: null,
  };

  constructor() {
    for (const miner of this.run.miners) {
      this.run.join(miner);
      this.run.lease(miner);
    }
    this.run.due();
  }

  dispatch(event: ValidatorEvent): readonly ValidatorEffect[] {
    const [state, effects] = step(this.state, event);
    this.state = state;
    this.effects.push(...effects);
    return effects;
  }

  tick = (block = 0) => this.dispatch({ kind: 'tick', block });
  done = (key: string) => this.dispatch({ kind: 'done', key });
  failed = (key: string) => this.dispatch({ kind: 'failed', key });

  /** A revealed claim that this validator has to judge. */
  claim(miner: Member): string {
    this.run.commit(miner, 0);
    const claim = [...this.run.state.claims.values()].at(-1)!;
    this.run.beacon(claim);
    this.run.reveal(claim);
    claim.beacon = { ...claim.beacon!, committee: this.run.validators.map(({ hotkey }) => hotkey.hotkey) };
    setStatus(this.run.state, claim, 'revealed');
    return `committee-${claim.id}-${claim.beacon.block}`;
  }

  /** An answered audit that this validator is the first to redo. */
  audit(id: number): string {
    const body = { audit: id, committee: [this.member.hotkey.hotkey] } as unknown as Audit['body'];
    const audit = { id, body, status: 'answered', verdicts: [], isDouble: false, answer: { atMs: this.run.nowMs } };
    this.run.state.audits.set(id, audit as unknown as Audit);
    this.run.state.openAudits.add(id);
    return `audit-${id}`;
  }

  release(): void {
    this.run.milestone(3);
  }

  tempo(tempo: number): void {
    this.run.must('tempo', { tempo, block: tempo * 10, blockHash: hashOfText('block') });
  }
}

const keys = (effects: readonly ValidatorEffect[]): string[] => effects.map(({ key }) => key);

describe('a validator', () => {
  it('does nothing while nothing is owed', () => {
    const validator = new Validator();
    expect(validator.tick()).toEqual([]);
    validator.run.commit(validator.run.miners[0]!, 0);
    expect(validator.dispatch({ kind: 'journaled' })).toEqual([]);
  });

  it('sets weights, then judges claims in commit order, then evaluates', () => {
    const validator = new Validator();
    validator.release();
    validator.tempo(0);
    validator.tempo(1);
    const claims = validator.run.miners.map((miner) => validator.claim(miner));
    validator.tick(10);
    const order = ['weights-1', ...claims, 'evaluate-0'];
    for (const [i, key] of order.entries()) {
      expect(validator.state.busy).toBe(key);
      validator.tick(10);
      expect(validator.effects).toHaveLength(i + 1);
      validator.done(key);
    }
    expect(keys(validator.effects)).toEqual(order);
    expect(validator.tick(10)).toEqual([]);
  });

  it('redoes one segment at a time beside its other work, neither waiting for the other', () => {
    const validator = new Validator();
    const audits = [0, 1].map((id) => validator.audit(id));
    const claims = validator.run.miners.slice(0, 2).map((miner) => validator.claim(miner));
    expect(keys(validator.tick())).toEqual([claims[0], audits[0]]);
    expect(validator.tick()).toEqual([]);
    expect(keys(validator.done(claims[0]!))).toEqual([claims[1]]);
    expect(keys(validator.done(audits[0]!))).toEqual([audits[1]]);
    expect(validator.done(claims[1]!)).toEqual([]);
    // The only one that is owed is tried again.
    expect(keys(validator.failed(audits[1]!))).toEqual([audits[1]]);
    expect(validator.state.busy).toBe(null);
  });

  it('judges a claim once, and again when it is drawn for again', () => {
    const validator = new Validator();
    const key = validator.claim(validator.run.miners[0]!);
    validator.tick();
    validator.done(key);
    expect(validator.tick()).toEqual([]);
    const claim = [...validator.run.state.claims.values()][0]!;
    claim.beacon = { ...claim.beacon!, block: claim.beacon!.block + 9 };
    expect(keys(validator.tick())).toEqual([`committee-${claim.id}-${claim.beacon.block}`]);
  });

  it('judges no claim that others are drawn for, and none that is settled', () => {
    const validator = new Validator();
    validator.claim(validator.run.miners[0]!);
    const claim = [...validator.run.state.claims.values()][0]!;
    claim.beacon = {
      ...claim.beacon!,
      committee: validator.run.validators.slice(1).map(({ hotkey }) => hotkey.hotkey),
    };
    expect(validator.tick()).toEqual([]);
    validator.run.verdict(claim, 2);
    validator.run.verdict(claim, 2);
    claim.beacon = { ...claim.beacon, committee: [validator.member.hotkey.hotkey] };
    expect(claim.status).toBe('accepted');
    expect(validator.tick()).toEqual([]);
  });

  it('tries failed work again, after the other work that is owed', () => {
    const validator = new Validator();
    const [first, second] = validator.run.miners.slice(0, 2).map((miner) => validator.claim(miner)) as [string, string];
    validator.tick();
    expect(keys(validator.failed(first))).toEqual([second]);
    expect(keys(validator.done(second))).toEqual([first]);
    expect(keys(validator.failed(first))).toEqual([first]);
  });

  it('goes on evaluating while the ledger refuses its weights', () => {
    const validator = new Validator();
    validator.release();
    validator.tempo(0);
    validator.tempo(1);
    validator.tick(10);
    expect(keys(validator.failed('weights-1'))).toEqual(['evaluate-0']);
    expect(keys(validator.done('evaluate-0'))).toEqual(['weights-1']);
  });

  it('sets weights once a tempo, and not before half a tempo lies between two settings', () => {
    const validator = new Validator();
    validator.tempo(0);
    expect(validator.tick(5)).toEqual([]); // no tempo has closed: there is nothing to weigh
    validator.tempo(1);
    expect(keys(validator.tick(19))).toEqual(['weights-1']);
    validator.done('weights-1');
    validator.tempo(2);
    for (const block of [20, 24, 25]) expect(validator.tick(block), `block ${block}`).toEqual([]);
    expect(keys(validator.tick(26))).toEqual(['weights-2']);
  });

  it('evaluates before claims once that is overdue, and then claims again', () => {
    const validator = new Validator();
    validator.release();
    const [first, second] = validator.run.miners.map((miner) => validator.claim(miner)) as [string, string];
    validator.run.nowMs += 30_000;
    validator.run.serve(validator.run.validators[1]!);
    expect(keys(validator.tick())).toEqual([first]);
    validator.run.nowMs += 2;
    validator.run.serve(validator.run.validators[1]!);
    expect(keys(validator.done(first))).toEqual(['evaluate-0']);
    validator.run.must('evaluation', { release: 0, losses: {}, sequences: 4 }, validator.member.session);
    expect(keys(validator.done('evaluate-0'))).toEqual([second]);
  });

  it('evaluates the newest release once', () => {
    const validator = new Validator();
    validator.release();
    expect(keys(validator.tick())).toEqual(['evaluate-0']);
    validator.run.must('evaluation', { release: 0, losses: {}, sequences: 4 }, validator.member.session);
    expect(validator.done('evaluate-0')).toEqual([]);
    const again = { ...validator.state, sent: new Set<string>() };
    expect(step(again, { kind: 'journaled' })[1]).toEqual([]);
  });

  it('rules in disputes and rechecks what it is drawn for, each once', () => {
    const validator = new Validator();
    validator.claim(validator.run.miners[0]!);
    const claim = [...validator.run.state.claims.values()][0]!;
    const others = validator.run.validators.slice(1);
    claim.beacon = { ...claim.beacon!, committee: others.map(({ hotkey }) => hotkey.hotkey) };
    expect(validator.tick()).toEqual([]);
    validator.run.say(claim, others[0]!, 'committee');
    validator.run.say(claim, others[1]!, 'committee', { outcome: 'reject', code: 'HARMFUL' });
    const key = `ruling-${claim.id}-${claim.beacon.block}`;
    expect(validator.tick()).toEqual([{ kind: 'check-claim', key, claim: claim.id, round: 'ruling' }]);
    expect(validator.done(key)).toEqual([]);
    claim.dispute = null;
    validator.run.state.openDisputes.clear();
    claim.status = 'accepted';
    claim.beacon = { ...claim.beacon, recheck: validator.member.hotkey.hotkey };
    validator.run.state.openRechecks.add(claim.id);
    expect(validator.tick()).toMatchObject([{ round: 'recheck' }]);
  });

  it('redoes audited segments in its turn', () => {
    const validator = new Validator();
    const { state } = validator.run;
    const body = { committee: [validator.run.validators[1]!.hotkey.hotkey, validator.member.hotkey.hotkey] };
    const audit = {
      id: 4,
      body,
      status: 'answered',
      answer: { atMs: state.lastTimeMs },
      verdicts: [],
      isDouble: false,
    };
    state.audits.set(4, audit as never);
    state.openAudits.add(4);
    expect(validator.tick()).toEqual([]);
    Object.assign(audit, { isDouble: true });
    expect(keys(validator.tick())).toEqual(['audit-4']);
    expect(validator.done('audit-4')).toEqual([]);
  });

  it('attests the oldest release that too few have attested, if it has stake', () => {
    const validator = new Validator();
    const { state } = validator.run;
    const { hotkey } = validator.member.hotkey;
    const record = (release: number, attestedBy: readonly string[]) => ({
      ...{ body: { release }, attestedBy, atMs: state.lastTimeMs - 30_001 },
    });
    validator.claim(validator.run.miners[0]!);
    validator.tick();
    state.releases.push(...([record(0, []), record(1, ['x']), record(2, []), record(3, [])] as never[]));
    state.evaluations.push({ release: 3 } as never);
    expect(keys(validator.done(validator.state.busy!))).toEqual(['attest-2']);
    expect(keys(validator.done('attest-2'))).toEqual(['attest-3']);
    state.releases[2]!.attestedBy.push(hotkey);
    expect(validator.done('attest-3')).toEqual([]);
    state.hotkeys.get(hotkey)!.drawnStakeRao = 0;
    const again = { ...validator.state, sent: new Set<string>() };
    expect(step(again, { kind: 'journaled' })[1].filter(({ kind }) => kind === 'attest-segment')).toEqual([]);
  });

  it('leaves a fresh segment to the validator whose turn it is', () => {
    const attesting = [1, 2, 3].map((release) => {
      const validator = new Validator();
      const { state } = validator.run;
      const claim = validator.claim(validator.run.miners[0]!); // draws the validators' stake
      validator.tick();
      const fresh = (each: number) => ({ body: { release: each }, attestedBy: [], atMs: state.lastTimeMs });
      const others = Array.from({ length: release }, (_, i) => ({ ...fresh(i), attestedBy: ['x'] }));
      state.releases.push(...([...others, fresh(release)] as never[]));
      state.evaluations.push({ release } as never);
      return keys(validator.done(claim));
    });
    expect(attesting.filter((each) => each.length === 1)).toHaveLength(1);
  });
});
