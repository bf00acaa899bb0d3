/** @file Replay audits through the fold: what may be drawn, what an answer and verdicts come to, and what is paid when. */
import { describe, expect, it } from 'vitest';
import { DrivenRun, type Member } from '../../tests/support/run-driver.ts';
import { codeOf, testHotkey, testManifest } from '../../tests/support/run-fixture.ts';
import { hashOfText } from '../protocol/hash.ts';
import type { RunManifest } from '../protocol/manifest.ts';
import type { EventBody } from '../protocol/messages.ts';
import { toDecimal } from '../protocol/names.ts';
import { auditableSegments } from './audit-draw.ts';
import { auditCheckMs, auditsOwed, isCleared } from './audits.ts';
import { hashState } from './fold.ts';
import { isOnProbation } from './queries.ts';
import type { Audit, Claim, HotkeyState, Learner } from './state.ts';

/** State roots every 4 steps; a claim has 2. */
function auditedRun(
  audit: Partial<RunManifest['audit']> = {},
  changes: Partial<RunManifest> = {},
  validators = 3,
): DrivenRun {
  const { sync, audit: before } = testManifest();
  const run = new DrivenRun(
    {
      sync: { ...sync, stateRootEverySteps: 4, leaseSequences: 48 },
      audit: { ...before, perTempo: 2, window: 3, ...audit },
      ...changes,
    },
    { validators },
  );
  for (const miner of run.miners) {
    run.join(miner);
    run.lease(miner);
  }
  tempo(run, 0);
  return run;
}

function tempo(run: DrivenRun, index: number): void {
  run.must('tempo', { tempo: index, block: index * 10, blockHash: hashOfText('tempo') });
}

/** An outer step to which these miners contribute two steps each; judged, merged, published. */
function round(run: DrivenRun, ...miners: readonly Member[]): Claim[] {
  run.nowMs += 10;
  if (run.state.due === null) expect(codeOf(run.due())).toBe('OK');
  const claims = miners.map((miner) => {
    if (run.state.learners.get(miner.id)!.leases.size === 0) run.lease(miner);
    expect(codeOf(run.commit(miner, 0)!)).toBe('OK');
    const claim = [...run.state.claims.values()].at(-1)!;
    run.beacon(claim);
    run.reveal(claim);
    while (claim.status === 'revealed') run.verdict(claim, 2);
    return claim;
  });
  expect(codeOf(run.merge()!)).toBe('OK');
  expect(codeOf(run.publish()!)).toBe('OK');
  return claims;
}

function rounds(run: DrivenRun, count: number, ...miners: readonly Member[]): void {
  for (let i = 0; i < count; i++) round(run, ...miners);
}

const learnerOf = (run: DrivenRun, { id }: Member): Learner => run.state.learners.get(id)!;
const standingOf = (run: DrivenRun, { hotkey }: Member): HotkeyState => run.state.hotkeys.get(hotkey.hotkey)!;
const stepsOf = (run: DrivenRun, miner: Member) => learnerOf(run, miner).auditable.map(({ steps }) => steps);
const drawable = (run: DrivenRun, { hotkey }: Member, block = 1e6, claim: Claim | null = null) =>
  auditableSegments(run.state, hotkey.hotkey, { block, claim: claim?.id ?? null });

function refused(run: DrivenRun, offer: () => ReturnType<DrivenRun['send']> | null): string {
  const before = hashState(run.state);
  const code = codeOf(offer()!);
  expect(hashState(run.state)).toBe(before);
  return code;
}

function challenge(run: DrivenRun, { hotkey }: Member): Audit {
  expect(codeOf(run.challenge(hotkey.hotkey)!)).toBe('OK');
  return run.state.audits.get(run.state.nextAudit - 1)!;
}

/** Passed by as many as it asks for. */
function passAudit(run: DrivenRun, miner: Member): void {
  const made = audit(run, miner);
  while (made.status === 'answered') expect(codeOf(run.redo(made, 'pass')!)).toBe('OK');
  expect(made.status).toBe('passed');
}

/** Challenged, answered, and redone as told by one after another. */
function audit(run: DrivenRun, miner: Member, ...outcomes: readonly ('pass' | 'fail')[]): Audit {
  const made = challenge(run, miner);
  expect(codeOf(run.answer(made)!)).toBe('OK');
  for (const outcome of outcomes) expect(codeOf(run.redo(made, outcome)!)).toBe('OK');
  return made;
}

describe('segments', () => {
  it('end at multiples of S and begin where the last one ended; the newest W stay', () => {
    const run = auditedRun();
    const [a] = run.miners as [Member];
    rounds(run, 1, a);
    expect(stepsOf(run, a)).toEqual([]);
    rounds(run, 4, a);
    expect(stepsOf(run, a)).toEqual([
      [0, 4],
      [4, 8],
    ]);
    expect(learnerOf(run, a).auditable.map(({ isFirst }) => isFirst)).toEqual([true, false]);
    rounds(run, 5, a);
    expect(stepsOf(run, a)).toEqual([
      [8, 12],
      [12, 16],
      [16, 20],
    ]);
  });

  it('are broken by a join, and the steps before it that no segment holds are merged and never paid', () => {
    const run = auditedRun();
    const [a] = run.miners as [Member];
    const [, whole, tail] = [round(run, a)[0]!, round(run, a)[0]!, round(run, a)[0]!];
    expect(learnerOf(run, a)).toMatchObject({ innerSteps: 6, segmentFrom: 4 });
    const paid = standingOf(run, a).tempoCellTokens;
    expect([...learnerOf(run, a).waiting]).toEqual([tail.id]);
    run.nowMs += 10;
    run.join(a);
    expect(learnerOf(run, a)).toMatchObject({ innerSteps: 6, segmentFrom: 6, joinedAtStep: 6 });
    expect(learnerOf(run, a).waiting.size).toBe(0);
    // Steps 0-6 of fragment 2: four of six lie in a segment.
    expect(tail.body.steps).toEqual([0, 6]);
    expect(tail.payableCellTokens).toBe((tail.cellTokens * 4) / 6);
    expect(whole.payableCellTokens).toBe(whole.cellTokens);
    expect(standingOf(run, a).tempoCellTokens).toBe(paid + tail.payableCellTokens);
    rounds(run, 2, a);
    expect(learnerOf(run, a).auditable.map(({ steps, isFirst }) => [...steps, isFirst])).toEqual([
      [0, 4, true],
      [6, 8, true],
    ]);
  });

  it('a learner that always begins anew before a segment ends earns nothing, also beside an honest one', () => {
    const run = auditedRun();
    const [honest, cheat] = run.miners as [Member, Member];
    for (let i = 0; i < 8; i++) {
      // One step of four is in a segment: from 3 to 4, from 7 to 8, and so on.
      round(run, honest, cheat);
      if (i % 2 === 1) continue;
      run.nowMs += 10;
      run.join(cheat);
    }
    const { segmentFrom, auditable } = learnerOf(run, cheat);
    const audited = auditable.reduce((sum, { steps: [from, to] }) => sum + to - from, 0);
    const mostPaid = audited * run.manifest.recipe.batchSequences * 4 * 3;
    expect(segmentFrom).toBeGreaterThan(8);
    expect(learnerOf(run, cheat).unpaidCellTokens).toBeLessThanOrEqual(mostPaid);
    expect(learnerOf(run, cheat).unpaidCellTokens).toBeLessThan(learnerOf(run, honest).unpaidCellTokens / 2);
  });

  it('are all there is to be paid: the open one waits', () => {
    const run = auditedRun();
    const [a] = run.miners as [Member];
    const first = round(run, a)[0]!;
    expect(standingOf(run, a).tempoCellTokens).toBe(0);
    const second = round(run, a)[0]!;
    expect(standingOf(run, a).tempoCellTokens).toBe(first.cellTokens + second.cellTokens);
    expect(learnerOf(run, a).waiting.size).toBe(0);
  });
});

describe('a draw', () => {
  it('is of segments that were committed before their block could be known, drawn once', () => {
    const run = auditedRun();
    const [a] = run.miners as [Member];
    rounds(run, 5, a);
    const blocks = learnerOf(run, a).auditable.map(({ claim }) => run.state.claims.get(claim)!.beacon!.block);
    expect(drawable(run, a, blocks[0]! - 1)).toEqual([]);
    expect(drawable(run, a, blocks[0]!)).toHaveLength(1);
    expect(drawable(run, a, blocks[1]!)).toHaveLength(2);
    const made = audit(run, a, 'pass');
    expect(drawable(run, a).map(({ segment }) => segment.steps)).not.toContainEqual(made.body.steps);
  });

  it('is not of a learner that is away, and its work is held until it is back', () => {
    const run = auditedRun();
    const [a, b] = run.miners as [Member, Member];
    rounds(run, 2, a, b);
    run.nowMs += 10;
    run.leave(b);
    expect(new Set(drawable(run, a).map(({ learner }) => learner.id))).toEqual(new Set([a.id]));
    passAudit(run, a);
    const away = learnerOf(run, b).unpaidCellTokens;
    expect(away).toBeGreaterThan(0);
    tempo(run, 1);
    expect(standingOf(run, a)).toMatchObject({ heldCellTokens: away });
    expect(standingOf(run, a).score).toBe(learnerOf(run, a).cellTokens);
    run.nowMs += 10;
    run.join(b);
    rounds(run, 2, a);
    passAudit(run, a);
    tempo(run, 2);
    expect(standingOf(run, a).heldCellTokens).toBe(0);
  });

  it('falls on learners by what they ask to be paid for, not by how many segments they show', () => {
    const run = auditedRun({ window: 8 });
    const [a, b] = run.miners as [Member, Member];
    rounds(run, 8, a, b);
    learnerOf(run, a).unpaidCellTokens = 90_000;
    learnerOf(run, b).unpaidCellTokens = 10_000;
    learnerOf(run, a).auditable = learnerOf(run, a).auditable.slice(-1);
    let ofA = 0;
    for (let i = 0; i < 200; i++) {
      const body = run.challengeBody(a.hotkey.hotkey, i)!;
      if (body.name === 'a') ofA++;
    }
    // 180 expected; four standard deviations are 17.
    expect(Math.abs(ofA - 180)).toBeLessThan(17);
  });

  it('does not depend on the order in which hotkeys are challenged', () => {
    const challenged = (first: number, second: number) => {
      const run = auditedRun({ window: 8 });
      rounds(run, 8, run.miners[0]!, run.miners[2]!);
      const made = [challenge(run, run.miners[first]!), challenge(run, run.miners[second]!)];
      return new Map(made.map(({ body }) => [body.hotkey, [body.steps, body.committee]]));
    };
    expect(challenged(0, 2)).toEqual(new Map([...challenged(2, 0)].reverse()));
  });

  it('asks those of the learner’s class of machine to repeat what the first one finds', () => {
    const run = auditedRun();
    const [a] = run.miners as [Member];
    rounds(run, 2, a);
    const others = run.validators.map((validator) => {
      for (const each of run.validators) {
        run.nowMs += 1;
        const machineClass = each === validator ? 'test' : 'other';
        run.send('serve', { atMs: run.nowMs, threads: 1, machineClass }, each.session);
      }
      const { committee } = run.challengeBody(a.hotkey.hotkey)!;
      return committee.indexOf(validator.hotkey.hotkey);
    });
    // First where the stake drew it first, else second.
    for (const place of others) expect(place).toBeLessThan(2);
  });
});

describe('a challenge', () => {
  it('is admitted only as it was drawn, in its turn', () => {
    const run = auditedRun();
    const [a, , c] = run.miners as [Member, Member, Member];
    rounds(run, 4, a);
    const body = run.challengeBody(a.hotkey.hotkey)!;
    const offer = (changes: Partial<EventBody<'audit-challenge'>>) =>
      refused(run, () => run.send('audit-challenge', { ...body, ...changes }));
    expect(offer({ audit: 7 })).toBe('WRONG_AUDIT');
    expect(offer({ tempo: 5 })).toBe('WRONG_TEMPO');
    expect(offer({ slot: 1 })).toBe('WRONG_SLOT');
    expect(offer({ claim: hashOfText('x') })).toBe('MALFORMED');
    expect(offer({ reason: 'resemblance' })).toBe('NO_REASON');
    expect(offer({ reason: 'no-gain' })).toBe('NO_REASON');
    expect(offer({ hotkey: run.validators[0]!.hotkey.hotkey })).toBe('CONFLICT');
    expect(offer({ hotkey: testHotkey('stranger').hotkey })).toBe('NOT_JOINED');
    expect(offer({ hotkey: c.hotkey.hotkey })).toBe('NO_SEGMENT');
    expect(offer({ block: 1 })).toBe('NO_SEGMENT');
    expect(offer({ candidates: [] })).toBe('NO_CANDIDATES');
    expect(offer({ candidates: [...body.candidates].reverse() })).toBe('MALFORMED');
    const other = stepsOf(run, a).find(([from]) => from !== body.steps[0])!;
    expect(offer({ steps: other })).toBe('WRONG_DRAW');
    expect(offer({ committee: [...body.committee].reverse() })).toBe('WRONG_DRAW');
    expect(offer({ name: 'b' })).toBe('WRONG_DRAW');
    // Neither too soon to answer nor so late that it is put off for ever.
    expect(offer({ deadlineMs: run.nowMs + 4_999 })).toBe('MALFORMED');
    expect(offer({ deadlineMs: run.nowMs + 60_000 })).toBe('MALFORMED');
    expect(codeOf(run.send('audit-challenge', body))).toBe('OK');
    expect(run.state.audits.get(0)).toMatchObject({ status: 'open', lagBlocks: expect.any(Number) });
  });

  it('has its slot’s block, and says how many blocks the syncer let pass', () => {
    const run = auditedRun();
    const [a] = run.miners as [Member];
    rounds(run, 4, a);
    const late = run.challengeBody(a.hotkey.hotkey, 5)!;
    const first = drawable(run, a)
      .map(({ segment }) => run.state.claims.get(segment.claim)!.beacon!.block)
      .sort((x, y) => x - y)[0]!;
    run.must('audit-challenge', late);
    expect(run.state.audits.get(0)!.lagBlocks).toBe(late.block - first);
    run.state.tempo.block = 10_000;
    const early = { ...run.challengeBody(a.hotkey.hotkey)!, block: 10_002 };
    // Slot 1 of 2 begins after a third of the tempo.
    expect(refused(run, () => run.send('audit-challenge', early))).toBe('TOO_SOON');
  });

  it('comes perTempo times a tempo, and again in the next', () => {
    const run = auditedRun({ window: 8 });
    const [a] = run.miners as [Member];
    rounds(run, 8, a);
    for (const slot of [0, 1]) expect(audit(run, a, 'pass').body.slot).toBe(slot);
    expect(refused(run, () => run.challenge(a.hotkey.hotkey))).toBe('WRONG_SLOT');
    tempo(run, 1);
    expect(audit(run, a, 'pass').body).toMatchObject({ slot: 0, tempo: 1 });
  });
});

describe('an answer', () => {
  it('is of the learner, once, with a start where the segment has one', () => {
    const run = auditedRun();
    const [a, , c] = run.miners as [Member, Member, Member];
    rounds(run, 2, a);
    const made = challenge(run, a);
    expect(made.isFirst).toBe(true);
    const end = { root: hashOfText('end'), sizeBytes: 9 };
    const offer = (start: typeof end | null, by = a, id = made.id) =>
      run.send('audit-answer', { audit: id, start, end }, by.session);
    expect(refused(run, () => offer(null, a, 9))).toBe('UNKNOWN_AUDIT');
    expect(refused(run, () => offer(null, c))).toBe('NOT_YOURS');
    expect(refused(run, () => offer(end))).toBe('MALFORMED');
    expect(refused(run, () => run.redo(made, 'pass'))).toBe('NOT_ANSWERED');
    expect(codeOf(offer(null))).toBe('OK');
    expect(refused(run, () => offer(null))).toBe('DUPLICATE');
    expect(refused(run, () => run.send('audit-close', { audit: made.id, code: 'UNANSWERED' }))).toBe('MALFORMED');
  });

  it('that does not come in time is a failure, and the learner is drawn no more until it works again', () => {
    const run = auditedRun();
    const [a] = run.miners as [Member];
    rounds(run, 4, a);
    const lost = standingOf(run, a).tempoCellTokens;
    const made = challenge(run, a);
    expect(refused(run, () => run.auditClose(made))).toBe('TOO_SOON');
    run.nowMs += 5_000;
    expect(codeOf(run.auditClose(made)!)).toBe('OK');
    expect(made).toMatchObject({ status: 'failed', code: 'UNANSWERED' });
    expect(standingOf(run, a)).toMatchObject({ tempoCellTokens: 0, openAudits: 0 });
    expect(standingOf(run, a).forfeits).toEqual([
      { audit: made.id, code: 'UNANSWERED', atMs: run.nowMs, cellTokens: lost },
    ]);
    expect(drawable(run, a)).toEqual([]);
    expect(refused(run, () => run.answer(made))).toBe('SETTLED');
    round(run, a);
    expect(drawable(run, a).length).toBeGreaterThan(0);
  });
});

describe('verdicts of an audit', () => {
  function answered(run = auditedRun(), passedBefore = 0): { run: DrivenRun; made: Audit; committee: Member[] } {
    const [a] = run.miners as [Member];
    rounds(run, 4 + 2 * passedBefore, a);
    for (let i = 0; i < passedBefore; i++) passAudit(run, a);
    const made = audit(run, a);
    return { run, made, committee: made.body.committee.map((hotkey) => run.validatorOf(hotkey)) };
  }
  const owing = (run: DrivenRun): string[] =>
    run.validators.map(({ hotkey }) => hotkey.hotkey).filter((hotkey) => auditsOwed(run.state, hotkey).length > 0);

  it('of a tempo’s first audit are two, of others one pass is enough; a pass is paid as five', () => {
    const first = answered();
    expect(owing(first.run).sort()).toEqual(first.made.body.committee.slice(0, 2).sort());
    first.run.redo(first.made, 'pass');
    expect(first.made.status).toBe('answered');
    first.run.redo(first.made, 'pass');
    expect(first.made.status).toBe('passed');
    const { evaluation } = testManifest();
    const { run, made, committee } = answered(
      auditedRun({ window: 8 }, { evaluation: { ...evaluation, recheckShare: toDecimal(0) } }),
      1,
    );
    expect(made.body.slot).toBe(1);
    expect(owing(run)).toEqual([made.body.committee[0]]);
    expect(refused(run, () => run.redo(made, 'pass', run.miners[0]!))).toBe('WRONG_ROLE');
    expect(codeOf(run.redo(made, 'pass')!)).toBe('OK');
    expect(made).toMatchObject({ status: 'passed', code: 'OK' });
    expect(run.state.hotkeys.get(committee[0]!.hotkey.hotkey)!.tempoVerdicts).toBeGreaterThanOrEqual(5);
    expect(refused(run, () => run.redo(made, 'pass'))).toBe('SETTLED');
  });

  it('a failure needs most of those drawn, and then voids the tempo and all open claims', () => {
    const { run, made, committee } = answered();
    const [a] = run.miners as [Member];
    run.due();
    run.commit(a, 0);
    const open = [...run.state.claims.values()].at(-1)!;
    expect(codeOf(run.redo(made, 'fail', committee[0])!)).toBe('OK');
    expect(made.status).toBe('answered');
    expect(refused(run, () => run.redo(made, 'pass', committee[0]))).toBe('DUPLICATE');
    expect(owing(run).sort()).toEqual(made.body.committee.slice(1).sort());
    expect(standingOf(run, a).tempoCellTokens).toBeGreaterThan(0);
    expect(codeOf(run.redo(made, 'fail', committee[1])!)).toBe('OK');
    expect(made).toMatchObject({ status: 'failed', code: 'REPLAY' });
    expect(standingOf(run, a)).toMatchObject({ tempoCellTokens: 0, heldCellTokens: 0, tempoAuditsPassed: 0 });
    expect(open).toMatchObject({ status: 'voided', code: 'FORFEITED' });
    expect(standingOf(run, a).testAllBelow).toBe(standingOf(run, a).claims + 2);
    expect(committee.every((each) => standingOf(run, each)?.barred == null)).toBe(true);
  });

  it('of two that differ a third decides; who passed what most found failed is barred', () => {
    const { run, made, committee } = answered();
    run.redo(made, 'pass', committee[1]);
    expect(made.status).toBe(made.isDouble ? 'answered' : 'passed');
    const other = answered();
    const [first, second, third] = other.committee as [Member, Member, Member];
    other.run.redo(other.made, 'fail', first);
    other.run.redo(other.made, 'pass', second);
    expect(other.made.status).toBe('answered');
    expect(owing(other.run)).toEqual([third.hotkey.hotkey]);
    other.run.redo(other.made, 'fail', third);
    expect(other.made.status).toBe('failed');
    expect(standingOf(other.run, second).barred!.sentence).toContain('most found failed');
    expect(refused(other.run, () => other.run.redo(other.made, 'fail', second))).toBe('SETTLED');
  });

  it('two of five neither pass what the others fail nor fail what the others pass', () => {
    for (const [theirs, honest] of [
      ['pass', 'fail'],
      ['fail', 'pass'],
    ] as const) {
      const { run, made, committee } = answered(auditedRun({}, {}, 5));
      const [liar, other, ...rest] = committee as [Member, Member, Member, Member, Member];
      run.redo(made, theirs, liar);
      run.redo(made, honest, rest[0]);
      expect(owing(run).length).toBe(3);
      run.redo(made, theirs, other);
      run.redo(made, honest, rest[1]);
      expect(made.status).toBe('answered');
      run.redo(made, honest, rest[2]);
      expect(made.status).toBe(honest === 'fail' ? 'failed' : 'passed');
      const isBarred = [liar, other].map((each) => standingOf(run, each).barred !== null);
      expect(isBarred).toEqual(Array(2).fill(theirs === 'pass'));
      for (const each of rest) expect(standingOf(run, each)).toMatchObject({ barred: null, overruledVerdicts: 0 });
    }
  });

  it('who is barred meanwhile is no longer waited for, and a tie passes', () => {
    const { run, made, committee } = answered(auditedRun({}, {}, 5));
    for (const each of committee.slice(2)) standingOf(run, each).barred = { sentence: 'lied', atMs: 1 };
    const [, second] = committee as [Member, Member];
    standingOf(run, committee[0]!).barred = { sentence: 'lied', atMs: 1 };
    expect(owing(run)).toEqual([second.hotkey.hotkey]);
    standingOf(run, committee[0]!).barred = null;
    run.redo(made, 'fail', committee[0]);
    expect(made.status).toBe('answered');
    run.redo(made, 'pass', committee[1]);
    expect(made.status).toBe('passed');
  });

  it('a failure that two others do not see is none', () => {
    const { run, made, committee } = answered();
    run.redo(made, 'fail', committee[0]);
    run.redo(made, 'pass', committee[1]);
    run.redo(made, 'pass', committee[2]);
    expect(made.status).toBe('passed');
    expect(standingOf(run, run.miners[0]!).tempoCellTokens).toBeGreaterThan(0);
    expect(standingOf(run, committee[0]!)).toMatchObject({ barred: null, overruledVerdicts: 1 });
  });

  it('a share of them is asked of two from the start', () => {
    const { evaluation } = testManifest();
    const { run, made } = answered(auditedRun({}, { evaluation: { ...evaluation, recheckShare: toDecimal(1) } }));
    expect(made.isDouble).toBe(true);
    expect(owing(run).sort()).toEqual(made.body.committee.slice(0, 2).sort());
    run.redo(made, 'pass');
    expect(made.status).toBe('answered');
    run.redo(made, 'pass');
    expect(made.status).toBe('passed');
  });

  it('of who is silent are owed by the next after a while, and of nobody in the end', () => {
    const { run, made } = answered();
    expect(refused(run, () => run.auditClose(made))).toBe('TOO_SOON');
    run.nowMs += 20_000;
    run.serve(run.validators[0]!);
    expect(owing(run).sort()).toEqual(made.body.committee.slice(0, 2).sort());
    run.nowMs += auditCheckMs(run.state);
    expect(codeOf(run.auditClose(made)!)).toBe('OK');
    expect(made).toMatchObject({ status: 'unchecked', code: 'UNCHECKED' });
    const standing = standingOf(run, run.miners[0]!);
    expect(standing).toMatchObject({ tempoAuditsDrawn: 0, tempoAuditsPassed: 0, openAudits: 0, forfeits: [] });
    expect(challenge(run, run.miners[0]!).body).toMatchObject({ slot: 0 });
  });

  it('are not given by who was not drawn, is barred, or contradicts itself', () => {
    const { run, made, committee } = answered();
    made.body.committee.splice(2, 1);
    expect(refused(run, () => run.redo(made, 'pass', committee[2]))).toBe('NOT_COMMITTEE');
    const said = { audit: made.id, outcome: 'pass', code: 'REPLAY', sentence: '', measurements: {} } as const;
    expect(refused(run, () => run.send('audit-verdict', said, committee[0]!.session))).toBe('MALFORMED');
    standingOf(run, committee[0]!).barred = { sentence: 'lied', atMs: 1 };
    expect(refused(run, () => run.redo(made, 'pass', committee[0]))).toBe('BARRED');
  });
});

describe('pay', () => {
  it('is for tempos in which an audit passed and none is open; other work is held and paid later', () => {
    const run = auditedRun();
    const [a, , c] = run.miners as [Member, Member, Member];
    rounds(run, 2, a, c);
    const work = standingOf(run, a).tempoCellTokens;
    passAudit(run, c);
    challenge(run, a);
    expect([a, c].map((miner) => isCleared(run.state, standingOf(run, miner)))).toEqual([false, true]);
    tempo(run, 1);
    expect(run.state.tempo.history.at(-1)!.work).toContainEqual({
      ...{ hotkey: a.hotkey.hotkey, cellTokens: 0, heldCellTokens: work, verdicts: 0 },
    });
    expect(standingOf(run, c).score).toBe(work);
    run.answer(run.state.audits.get(1));
    run.redo(run.state.audits.get(1), 'pass');
    if (run.state.audits.get(1)!.status === 'answered') run.redo(run.state.audits.get(1), 'pass');
    tempo(run, 2);
    expect(standingOf(run, a)).toMatchObject({ score: work, heldCellTokens: 0 });
  });

  it('of what an audit voids never comes, also if it was held or is being merged', () => {
    const run = auditedRun();
    const [a] = run.miners as [Member];
    rounds(run, 2, a);
    tempo(run, 1);
    expect(standingOf(run, a).heldCellTokens).toBeGreaterThan(0);
    run.due();
    run.commit(a, 0);
    const merging = [...run.state.claims.values()].at(-1)!;
    run.beacon(merging);
    run.reveal(merging);
    while (merging.status === 'revealed') run.verdict(merging, 2);
    run.merge();
    audit(run, a, 'fail', 'fail');
    expect(standingOf(run, a)).toMatchObject({ tempoCellTokens: 0, heldCellTokens: 0 });
    expect(merging).toMatchObject({ status: 'merging', isOverturned: true });
    run.publish();
    expect(standingOf(run, a).tempoCellTokens + learnerOf(run, a).waiting.size).toBe(0);
  });

  it('is at once where there are no audits', () => {
    const run = auditedRun({ perTempo: 0 });
    const [a] = run.miners as [Member];
    const [claim] = round(run, a) as [Claim];
    run.nowMs += 10;
    run.join(a);
    run.leave({ ...a });
    tempo(run, 1);
    expect(standingOf(run, a).score).toBe(claim.cellTokens);
    expect(run.challengeBody(a.hotkey.hotkey)).toBeNull();
  });
});

describe('a proven fraud', () => {
  /** The first of the miners has a score; then an audit of it fails. */
  function caught(): { run: DrivenRun; a: Member; c: Member } {
    const run = auditedRun({ window: 8 });
    const [a, , c] = run.miners as [Member, Member, Member];
    rounds(run, 2, a, c);
    passAudit(run, a);
    tempo(run, 1);
    expect(standingOf(run, a).score).toBeGreaterThan(0);
    rounds(run, 4, a, c);
    audit(run, a, 'fail', 'fail');
    return { run, a, c };
  }

  it('costs the score of earlier tempos', () => {
    const { run, a, c } = caught();
    expect(standingOf(run, a)).toMatchObject({ score: 0, probationFromMs: run.nowMs });
    expect(standingOf(run, c).probationFromMs).toBeNull();
  });

  it('keeps later claims out of merges until an audit that was drawn after it has passed', () => {
    const { run, a, c } = caught();
    run.nowMs += 10;
    const [waiting] = round(run, a, c);
    expect(waiting!.status).toBe('accepted');
    expect(isOnProbation(run.state, a.hotkey.hotkey)).toBe(true);
    rounds(run, 1, a, c);
    passAudit(run, a);
    expect(isOnProbation(run.state, a.hotkey.hotkey)).toBe(false);
    expect(round(run, a, c)[0]!.status).toBe('merged');
    // What waited is merged at its fragment's next turn.
    rounds(run, run.manifest.fragments.count - 2, c);
    expect(waiting!.status).toBe('merged');
  });

  it('is not what a learner shows that fell silent: its score stays', () => {
    const run = auditedRun();
    const [a, , c] = run.miners as [Member, Member, Member];
    const unanswered = (commitsLate: boolean): HotkeyState => {
      rounds(run, 4, a, c);
      standingOf(run, a).score = 7;
      const made = challenge(run, a);
      run.nowMs += 4_000;
      if (commitsLate) round(run, a);
      run.nowMs += 1_100;
      expect(codeOf(run.auditClose(made)!)).toBe('OK');
      return standingOf(run, a);
    };
    expect(unanswered(false)).toMatchObject({ score: 7, probationFromMs: null, tempoCellTokens: 0 });
    rounds(run, 2, a);
    expect(unanswered(true)).toMatchObject({ score: 0, probationFromMs: run.nowMs });
  });
});

describe('suspicion', () => {
  function suspected(): { run: DrivenRun; claim: Claim; a: Member } {
    const run = auditedRun({ window: 8 });
    const [a] = run.miners as [Member];
    rounds(run, 2, a);
    run.due();
    run.commit(a, 0);
    const claim = [...run.state.claims.values()].at(-1)!;
    run.beacon(claim);
    run.reveal(claim);
    const [first, second] = claim.beacon!.committee.map((hotkey) => run.validatorOf(hotkey)) as [Member, Member];
    run.say(claim, first, 'committee', { measurements: { resemblance: toDecimal(0.95) } });
    run.say(claim, second, 'committee', { measurements: { resemblance: toDecimal(0.2) } });
    run.merge();
    run.publish();
    return { run, claim, a };
  }

  it('of a copy draws a replay of that claim’s steps, and holds pay until it has passed', () => {
    const { run, claim, a } = suspected();
    expect(claim.code).toBe('OK');
    expect(standingOf(run, a).suspicions).toEqual([{ reason: 'resemblance', claim: claim.id }]);
    expect(claim.body.steps).toEqual([0, 6]);
    // Its first steps are in a segment, its last ones will be.
    expect(drawable(run, a, 1e6, claim).map(({ segment }) => segment.steps)).toEqual([[0, 4]]);
    const { body } = audit(run, a, 'pass');
    expect(body).toMatchObject({ reason: 'resemblance', claim: claim.id });
    expect(standingOf(run, a)).toMatchObject({ suspicions: [], tempoAuditsDrawn: 0, tempoAuditsPassed: 1 });
  });

  it('keeps a hotkey from being paid while it waits', () => {
    const { run, a } = suspected();
    standingOf(run, a).tempoAuditsPassed = 1;
    expect(isCleared(run.state, standingOf(run, a))).toBe(false);
  });

  it('of steps that nobody can redo any more falls back on others, and never blocks for ever', () => {
    const { run, claim, a } = suspected();
    const learner = learnerOf(run, a);
    learner.auditable = [];
    expect(drawable(run, a, 1e6, claim)).toEqual([]); // steps 4 to 6 will be in a segment
    run.nowMs += 10;
    run.join(a);
    rounds(run, 2, a);
    expect(drawable(run, a, 1e6, claim).map(({ segment }) => segment.steps)).toEqual([[6, 8]]);
  });
});
