/** @file Disputes: who decides when validators differ, who is barred for what, and what becomes of the claim. */
import { describe, expect, it } from 'vitest';
import { DrivenRun, type Member } from '../../tests/support/run-driver.ts';
import { codeOf, testManifest } from '../../tests/support/run-fixture.ts';
import type { EventBody } from '../protocol/messages.ts';
import { type Decimal, toDecimal } from '../protocol/names.ts';
import { hashState, proposeMerge } from './fold.ts';
import { appealMs, verdictsOwed } from './queries.ts';
import type { Claim } from './state.ts';

type Said = Partial<EventBody<'verdict'>>;
const rejectAs = (code: 'HARMFUL' | 'NORM_HIGH' | 'HEADER' | 'TRACE' | 'MISSING'): Said => ({
  outcome: 'reject',
  code,
});

/** Every miner joined and leased, outer step 0 open; recheckShare 1: every accepted claim is rechecked. */
function openRun(recheckShare = '0', validators = 3): DrivenRun {
  const { evaluation } = testManifest();
  const run = new DrivenRun({ evaluation: { ...evaluation, recheckShare: recheckShare as Decimal } }, { validators });
  for (const miner of run.miners) {
    run.join(miner);
    run.lease(miner);
  }
  run.due();
  return run;
}

function commit(run: DrivenRun, miner = run.miners[0]!): Claim {
  run.nowMs += 10;
  expect(codeOf(run.commit(miner, 0)!)).toBe('OK');
  const claim = [...run.state.claims.values()].at(-1)!;
  expect(codeOf(run.beacon(claim)!)).toBe('OK');
  expect(codeOf(run.reveal(claim)!)).toBe('OK');
  return claim;
}

/** The committee's members, in order, say these. */
function judge(run: DrivenRun, claim: Claim, ...said: readonly Said[]): void {
  for (const [i, each] of said.entries()) {
    const member = run.validatorOf(claim.beacon!.committee[i]!);
    expect(codeOf(run.say(claim, member, 'committee', each)), `verdict ${i}`).toBe('OK');
  }
}

const committeeOf = (run: DrivenRun, claim: Claim): Member[] =>
  claim.beacon!.committee.map((hotkey) => run.validatorOf(hotkey));

const otherOf = (run: DrivenRun, claim: Claim): Member =>
  run.validators.find(({ hotkey }) => !claim.beacon!.committee.includes(hotkey.hotkey))!;

/** Whoever was drawn, most validators have most of the stake. */
function levelStakes(claim: Claim): void {
  const candidates = claim.beacon!.candidates.map((each) => ({ ...each, stakeRao: 5 }));
  claim.beacon = { ...claim.beacon!, candidates };
}

const standing = (run: DrivenRun, { hotkey }: Member) => run.state.hotkeys.get(hotkey.hotkey)!;
const owes = (run: DrivenRun, { hotkey }: Member): string[] =>
  [...verdictsOwed(run.state, hotkey.hotkey)].map(({ round }) => round);

function refused(run: DrivenRun, offer: () => ReturnType<DrivenRun['send']> | null): string {
  const before = hashState(run.state);
  const code = codeOf(offer()!);
  expect(hashState(run.state)).toBe(before);
  return code;
}

describe('a committee that does not agree', () => {
  it('goes to all validators, whose stake decides; who the bytes disprove is barred and drawn no more', () => {
    const run = openRun();
    const claim = commit(run);
    judge(run, claim, {}, rejectAs('HEADER'));
    expect(claim).toMatchObject({ status: 'revealed', dispute: { reason: 'disagreement', closedAtMs: null } });
    for (const validator of run.validators) expect(owes(run, validator)).toEqual(['ruling']);
    const [first, second] = committeeOf(run, claim) as [Member, Member];
    expect(refused(run, () => run.say(claim, otherOf(run, claim), 'committee'))).toBe('NOT_COMMITTEE');
    for (const validator of [first, otherOf(run, claim)])
      expect(codeOf(run.say(claim, validator, 'ruling'))).toBe('OK');
    // Two of three are most of the stake, but who lied needs the whole jury.
    expect(claim.status).toBe('revealed');
    expect(refused(run, () => run.say(claim, first, 'ruling'))).toBe('DUPLICATE');
    expect(codeOf(run.say(claim, second, 'ruling'))).toBe('OK');
    expect(claim).toMatchObject({ status: 'accepted', code: 'OK' });
    expect(run.state.openDisputes.size).toBe(0);
    expect(standing(run, second)).toMatchObject({ verdictScore: 0, tempoVerdicts: 0, overruledVerdicts: 1 });
    expect(standing(run, second).barred!.sentence).toContain('HEADER where the bytes say OK');
    expect(standing(run, first)).toMatchObject({ barred: null, tempoVerdicts: 2 });
    expect(run.candidates().map(({ hotkey }) => hotkey)).not.toContain(second.hotkey.hotkey);
    const next = commit(run, run.miners[2]!);
    expect(next.beacon!.committee).not.toContain(second.hotkey.hotkey);
    expect(refused(run, () => run.say(next, second, 'committee'))).toBe('BARRED');
  });

  it('bars nobody where honest validators can differ', () => {
    const run = openRun();
    const claim = commit(run);
    judge(run, claim, {}, rejectAs('HARMFUL'));
    for (const validator of run.validators) run.say(claim, validator, 'ruling');
    expect(claim.status).toBe('accepted');
    expect(run.validators.map((validator) => standing(run, validator).barred)).toEqual([null, null, null]);
  });

  it('of two validators about harm alone is for the miner, about anything else against him', () => {
    for (const [code, expected] of [
      ['HARMFUL', { status: 'accepted', code: 'OK' }],
      ['NORM_HIGH', { status: 'refused', code: 'DISAGREED' }],
    ] as const) {
      const run = openRun('0', 2);
      const claim = commit(run);
      levelStakes(claim);
      judge(run, claim, {}, rejectAs(code));
      const [one, other] = committeeOf(run, claim) as [Member, Member];
      run.say(claim, one, 'ruling');
      run.say(claim, other, 'ruling', rejectAs(code));
      expect(claim).toMatchObject(expected);
      expect(run.validators.map((validator) => standing(run, validator).barred)).toEqual([null, null]);
    }
  });

  it('bars nobody who could not get the bytes', () => {
    const run = openRun();
    const claim = commit(run);
    judge(run, claim, rejectAs('HEADER'), { outcome: 'ignore', code: 'MISSING' });
    for (const validator of run.validators) run.say(claim, validator, 'ruling', rejectAs('HEADER'));
    expect(claim).toMatchObject({ status: 'refused', code: 'HEADER' });
    expect(run.validators.map((validator) => standing(run, validator).barred)).toEqual([null, null, null]);
  });

  it('is ended by time, and then few that were quick do not decide for the absent', () => {
    const run = openRun();
    const claim = commit(run);
    judge(run, claim, {}, rejectAs('HEADER'));
    const [first] = committeeOf(run, claim) as [Member];
    expect(codeOf(run.say(claim, first, 'ruling'))).toBe('OK');
    expect(refused(run, () => run.disputeClose(0))).toBe('TOO_SOON');
    run.nowMs += 40_000;
    expect(codeOf(run.disputeClose(0)!)).toBe('OK');
    expect(claim).toMatchObject({ status: 'refused', code: 'DISAGREED' });
    expect(run.validators.map((validator) => standing(run, validator).barred)).toEqual([null, null, null]);
    expect(refused(run, () => run.send('dispute-close', { claim: claim.id }))).toBe('SETTLED');
    expect(refused(run, () => run.say(claim, otherOf(run, claim), 'ruling'))).toBe('SETTLED');
    expect(refused(run, () => run.appeal(claim))).toBe('DUPLICATE');
  });

  it('by time too, most of the stake decides', () => {
    const run = openRun();
    const claim = commit(run);
    judge(run, claim, {}, rejectAs('HEADER'));
    for (const validator of run.validators.slice(0, 2)) run.say(claim, validator, 'ruling', rejectAs('HEADER'));
    run.nowMs += 40_000;
    expect(codeOf(run.disputeClose(0)!)).toBe('OK');
    expect(claim).toMatchObject({ status: 'refused', code: 'HEADER' });
    expect(standing(run, committeeOf(run, claim)[0]!).barred).not.toBeNull();
  });

  it('is no reason to draw again', () => {
    const run = openRun();
    const claim = commit(run);
    judge(run, claim, {}, rejectAs('HARMFUL'));
    run.nowMs += 30_000;
    expect(refused(run, () => run.beacon(claim))).toBe('SETTLED');
  });
});

describe('a recheck', () => {
  it('is drawn of who was not of the committee, of accepted claims only, once', () => {
    const run = openRun('1');
    const [good, bad] = [commit(run), commit(run, run.miners[2]!)];
    expect(good.beacon!.recheck).toBe(otherOf(run, good).hotkey.hotkey);
    const checker = otherOf(run, good);
    expect(refused(run, () => run.say(good, checker, 'recheck'))).toBe('SETTLED');
    judge(run, good, {}, {});
    judge(run, bad, rejectAs('HARMFUL'), rejectAs('HARMFUL'));
    expect([...run.state.openRechecks]).toEqual([good.id]);
    expect(owes(run, checker)).toEqual(['recheck']);
    expect(refused(run, () => run.say(good, committeeOf(run, good)[0]!, 'recheck'))).toBe('NOT_COMMITTEE');
    expect(codeOf(run.say(good, checker, 'recheck'))).toBe('OK');
    expect(refused(run, () => run.say(good, checker, 'recheck'))).toBe('DUPLICATE');
    expect(run.state.openRechecks.size).toBe(0);
    const others = bad.beacon!.committee.includes(checker.hotkey.hotkey) ? 1 : 0;
    expect(standing(run, checker).tempoVerdicts - others).toBe(1);
    expect(good.dispute).toBeNull();
  });

  it('that finds what bytes disprove has two validators barred and a merged claim unpaid', () => {
    const run = openRun('1', 5);
    const claim = commit(run);
    levelStakes(claim);
    judge(run, claim, {}, {});
    run.merge();
    run.publish();
    const miner = run.state.hotkeys.get(claim.hotkey)!;
    expect(miner.tempoCellTokens).toBe(claim.cellTokens);
    const checker = run.validatorOf(claim.beacon!.recheck!);
    expect(codeOf(run.say(claim, checker, 'recheck', rejectAs('TRACE')))).toBe('OK');
    expect(claim.dispute!.reason).toBe('disagreement');
    for (const validator of run.validators) {
      const isLiar = claim.beacon!.committee.includes(validator.hotkey.hotkey);
      expect(codeOf(run.say(claim, validator, 'ruling', isLiar ? {} : rejectAs('TRACE')))).toBe('OK');
    }
    expect(claim).toMatchObject({ status: 'merged', isOverturned: true, code: 'TRACE' });
    expect(miner).toMatchObject({ tempoCellTokens: 0, heldCellTokens: 0 });
    for (const liar of committeeOf(run, claim)) expect(standing(run, liar).barred).not.toBeNull();
    expect(standing(run, checker)).toMatchObject({ barred: null, tempoVerdicts: 1 });
  });

  it('that overturns a claim before it is counted has it merged and never paid', () => {
    const run = openRun('1');
    const claim = commit(run);
    judge(run, claim, {}, {});
    run.merge();
    expect(claim.status).toBe('merging');
    run.say(claim, otherOf(run, claim), 'recheck', rejectAs('TRACE'));
    for (const validator of run.validators) run.say(claim, validator, 'ruling', rejectAs('TRACE'));
    expect(codeOf(run.publish()!)).toBe('OK');
    expect(claim).toMatchObject({ status: 'merged', isOverturned: true });
    expect(run.state.hotkeys.get(claim.hotkey)!.tempoCellTokens).toBe(0);
    expect(run.state.cellTokens).toBe(claim.cellTokens);
  });

  it('that overturns an accepted claim keeps it from the merge', () => {
    const run = openRun('1');
    const claim = commit(run);
    judge(run, claim, {}, {});
    run.say(claim, otherOf(run, claim), 'recheck', rejectAs('TRACE'));
    for (const validator of run.validators) run.say(claim, validator, 'ruling', rejectAs('TRACE'));
    expect(claim).toMatchObject({ status: 'refused', code: 'TRACE' });
    expect(proposeMerge(run.state, 0).claims).toEqual([]);
    expect(run.state.learners.get(claim.learner)!.claims).toMatchObject({ accepted: 0, refused: 1 });
  });

  it('that finds the gain otherwise changes nothing by itself', () => {
    const run = openRun('1');
    const claim = commit(run);
    judge(run, claim, {}, {});
    expect(codeOf(run.say(claim, otherOf(run, claim), 'recheck', rejectAs('HARMFUL')))).toBe('OK');
    expect(claim).toMatchObject({ status: 'accepted', dispute: null });
  });
});

describe('an accusation', () => {
  /** An accepted claim whose first committee member is accused by the recheck. */
  function accusedRun(): { run: DrivenRun; claim: Claim; accused: Member; checker: Member } {
    const run = openRun('1');
    const claim = commit(run);
    judge(run, claim, {}, {});
    const [accused, checker] = [committeeOf(run, claim)[0]!, otherOf(run, claim)];
    const accusing = { accused: [accused.hotkey.hotkey] };
    expect(codeOf(run.say(claim, checker, 'recheck', accusing))).toBe('OK');
    expect(claim.dispute!.reason).toBe('accusation');
    return { run, claim, accused, checker };
  }

  it('that most of the stake shares bars a validator, and leaves the claim as it is', () => {
    const { run, claim, accused, checker } = accusedRun();
    for (const validator of run.validators) {
      const said = validator === accused ? {} : { accused: [accused.hotkey.hotkey] };
      expect(codeOf(run.say(claim, validator, 'ruling', said))).toBe('OK');
    }
    expect(standing(run, accused).barred!.sentence).toContain('could not compute');
    expect(standing(run, checker)).toMatchObject({ barred: null, unsharedAccusations: 0 });
    expect(claim.status).toBe('accepted');
  });

  it('that nobody shares costs its sender, in the end his place', () => {
    const { run, claim, accused, checker } = accusedRun();
    for (const validator of run.validators) run.say(claim, validator, 'ruling');
    expect(standing(run, accused).barred).toBeNull();
    expect(standing(run, checker)).toMatchObject({ barred: null, unsharedAccusations: 1 });
    standing(run, checker).unsharedAccusations = 2;
    const [, , third] = run.miners as [Member, Member, Member];
    for (let i = 0; i < 20 && standing(run, checker).barred === null; i++) {
      if (run.state.due === null) run.due();
      if (run.state.learners.get(third.id)!.leases.size === 0) run.lease(third);
      const next = commit(run, third);
      judge(run, next, {}, {});
      const by = run.validatorOf(next.beacon!.recheck!);
      const accusation = by === checker ? { accused: [next.beacon!.committee[0]!] } : {};
      expect(codeOf(run.say(next, by, 'recheck', accusation))).toBe('OK');
      if (by === checker) for (const validator of run.validators) run.say(next, validator, 'ruling');
      run.merge();
      run.publish();
      run.due();
    }
    expect(standing(run, checker).barred!.sentence).toContain('3 times');
  });

  it('is only heard of who has published something of this claim, and from who came after', () => {
    const run = openRun('1');
    const claim = commit(run);
    const [first, second] = committeeOf(run, claim) as [Member, Member];
    judge(run, claim, {});
    const accuse = (member: Member, round: 'committee' | 'recheck', ...whom: Member[]) =>
      refused(run, () => run.say(claim, member, round, { accused: whom.map(({ hotkey }) => hotkey.hotkey) }));
    expect(accuse(second, 'committee', first)).toBe('MALFORMED');
    run.say(claim, second, 'committee');
    const checker = otherOf(run, claim);
    expect(accuse(checker, 'recheck', checker)).toBe('CONFLICT');
    expect(accuse(checker, 'recheck', first, first)).toBe('MALFORMED');
    expect(accuse(checker, 'recheck', run.miners[0]!)).toBe('MALFORMED');
  });
});

describe('an appeal', () => {
  function refusedRun(): { run: DrivenRun; claim: Claim } {
    const run = openRun();
    const claim = commit(run);
    judge(run, claim, rejectAs('HEADER'), rejectAs('HEADER'));
    expect(claim.status).toBe('refused');
    return { run, claim };
  }

  it('that most of the stake upholds has the claim merged and the liars barred', () => {
    const { run, claim } = refusedRun();
    expect(codeOf(run.appeal(claim)!)).toBe('OK');
    const other = otherOf(run, claim);
    expect(codeOf(run.say(claim, other, 'ruling'))).toBe('OK');
    // An honest one of the committee, on second thoughts; an appeal ends as soon as it is clear.
    expect(codeOf(run.say(claim, committeeOf(run, claim)[0]!, 'ruling'))).toBe('OK');
    expect(claim).toMatchObject({ status: 'accepted', code: 'OK' });
    expect(run.state.learners.get(claim.learner)!.claims).toMatchObject({ accepted: 1, refused: 0 });
    expect(standing(run, committeeOf(run, claim)[1]!).barred).not.toBeNull();
    expect(standing(run, run.miners[0]!).tempoAppealsLost).toBe(0);
    expect(proposeMerge(run.state, 0).claims.map((each) => each.claim)).toEqual([claim.id]);
  });

  it('that they turn down leaves the claim refused, and is the last one of the tempo', () => {
    const { run, claim } = refusedRun();
    const second = commit(run, run.miners[1]!);
    judge(run, second, rejectAs('HARMFUL'), rejectAs('HARMFUL'));
    expect(second.hotkey).toBe(claim.hotkey);
    run.appeal(claim);
    expect(refused(run, () => run.appeal(claim))).toBe('DUPLICATE');
    expect(refused(run, () => run.appeal(second))).toBe('APPEALED');
    for (const validator of run.validators.slice(1)) run.say(claim, validator, 'ruling', rejectAs('HEADER'));
    expect(claim).toMatchObject({ status: 'refused', code: 'HEADER' });
    expect(refused(run, () => run.appeal(second))).toBe('APPEALED');
    run.must('tempo', { tempo: 1, block: 10, blockHash: run.context.run });
    expect(codeOf(run.appeal(second)!)).toBe('OK');
  });

  it('is of a refused claim, by who made it, in time', () => {
    const { run, claim } = refusedRun();
    const good = commit(run, run.miners[2]!);
    expect(refused(run, () => run.appeal(good))).toBe('NOT_REFUSED');
    const byOther = () => run.send('appeal', { claim: claim.id }, run.miners[2]!.session);
    expect(refused(run, byOther)).toBe('NOT_YOURS');
    const unknown = () => run.send('appeal', { claim: run.context.run }, run.miners[2]!.session);
    expect(refused(run, unknown)).toBe('UNKNOWN_CLAIM');
    run.nowMs += appealMs + 1;
    expect(refused(run, () => run.appeal(claim))).toBe('TOO_LATE');
  });
});

describe('evidence of no gain', () => {
  /** Eight tests for each of two hotkeys: m1 gains, m0 as told. */
  function pooled(gain: number): DrivenRun {
    const run = openRun();
    const measured = (value: number): Said => ({
      measurements: { gain: toDecimal(value), gainError: toDecimal(0.01) },
    });
    for (let i = 0; i < 4; i++) {
      if (i > 0) run.due();
      for (const miner of [run.miners[2]!, run.miners[0]!]) {
        if (run.state.learners.get(miner.id)!.leases.size === 0) run.lease(miner);
        const claim = commit(run, miner);
        const said = measured(miner === run.miners[0] ? gain : 0.1);
        judge(run, claim, said, said);
      }
      run.merge();
      run.publish();
    }
    return run;
  }

  it('draws an audit of who does not gain while most others do', () => {
    const [idle, gaining] = [pooled(0), pooled(0.05)];
    const of = (run: DrivenRun) => run.state.hotkeys.get(run.miners[0]!.hotkey.hotkey)!.suspicions;
    expect(of(idle)).toEqual([{ reason: 'no-gain', claim: null }]);
    expect(of(gaining)).toEqual([]);
  });

  it('is not drowned by numbers that no test can give', () => {
    const run = pooled(0);
    const standing = run.state.hotkeys.get(run.miners[2]!.hotkey.hotkey)!;
    const before = standing.gainSum;
    run.due();
    run.lease(run.miners[2]!);
    const claim = commit(run, run.miners[2]!);
    const absurd: Said = { measurements: { gain: '-1000000000' as Decimal, gainError: '0' as Decimal } };
    judge(run, claim, absurd, absurd);
    expect(standing.gainSum).toBe(before);
  });
});
