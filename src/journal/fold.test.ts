/** @file The life of claims through the fold, rule by rule, and the refusals that a miner or a liar can meet. */
import { describe, expect, it } from 'vitest';
import { DrivenRun, type Member } from '../../tests/support/run-driver.ts';
import {
  codeOf,
  TestRun,
  testArtifact,
  testHotkey,
  testManifest,
  testSession,
} from '../../tests/support/run-fixture.ts';
import { toDecimal } from '../protocol/names.ts';
import { hashState, proposeMerge, treeHeadOf, weightsOf } from './fold.ts';
import { countedTokens, medianNorm, nextLeaseRange, verdictsOwed } from './queries.ts';
import { type Claim, emptyState } from './state.ts';

/** A run in which every miner has joined and holds a lease, and outer step 0 is open. */
function openRun(): DrivenRun {
  const run = new DrivenRun();
  for (const miner of run.miners) {
    expect(codeOf(run.join(miner))).toBe('OK');
    expect(codeOf(run.lease(miner))).toBe('OK');
  }
  expect(codeOf(run.due())).toBe('OK');
  return run;
}

function commit(run: DrivenRun, miner: Member): Claim {
  run.nowMs += 10;
  const admission = run.commit(miner, 0);
  expect(codeOf(admission!), JSON.stringify(admission)).toBe('OK');
  return [...run.state.claims.values()].at(-1)!;
}

/** Beacon, reveal, and one verdict after another. */
function judge(run: DrivenRun, claim: Claim, outcomes: readonly number[]): void {
  expect(codeOf(run.beacon(claim)!)).toBe('OK');
  expect(codeOf(run.reveal(claim)!)).toBe('OK');
  for (const outcome of outcomes) expect(codeOf(run.verdict(claim, outcome)!)).toBe('OK');
}
const accept = 2;
const rejectIt = 0;
const ignoreIt = 1;

/** Every refusal must leave the state as it was. */
function refused(run: DrivenRun, offer: () => ReturnType<DrivenRun['send']> | null): string {
  const before = hashState(run.state);
  const code = codeOf(offer()!);
  expect(hashState(run.state)).toBe(before);
  return code;
}

describe('claims', () => {
  it('are committed, judged, merged and counted once', () => {
    const run = openRun();
    const [a, , b] = run.miners as [Member, Member, Member];
    const claims = [commit(run, b), commit(run, a)];
    for (const claim of claims) judge(run, claim, [accept, accept]);
    const body = proposeMerge(run.state, 0);
    // Merge order is hotkey and name, not arrival.
    expect(body.claims.map(({ claim }) => run.state.claims.get(claim)!.learner)).toEqual([a.id, b.id].sort());
    expect(codeOf(run.merge()!)).toBe('OK');
    expect(run.state.cellTokens).toBe(0);
    expect(run.state.fragments[0]!.pendingMerge).not.toBeNull();
    expect(codeOf(run.publish()!)).toBe('OK');
    // 2 claims of 2 steps of 2 sequences of 4 tokens, of one of 3 fragments.
    expect(run.state.cellTokens).toBe(2 * 2 * 2 * 4);
    expect(countedTokens(run.state)).toBe(32 / 3);
    expect(run.state.fragments[0]).toMatchObject({ version: 1, merges: 1, pendingMerge: null });
    expect(medianNorm(run.state, 0)).toBe(1 / Math.sqrt(2));
    expect(claims.map(({ status }) => status)).toEqual(['merged', 'merged']);
  });

  it('of the next fragment start where the trace began, and take the same sequences once more', () => {
    const run = openRun();
    const first = commit(run, run.miners[0]!);
    judge(run, first, [accept, accept]);
    run.merge();
    run.publish();
    run.due();
    const second = commit(run, run.miners[0]!);
    expect(second.body).toMatchObject({ fragment: 1, steps: [0, 4], trace: { lines: [2, 4] } });
    expect(second.cellTokens).toBe(2 * first.cellTokens);
  });

  it('that miss their outer step are merged at the next one, with staleness', () => {
    const run = openRun();
    const [a, b] = run.miners as [Member, Member, Member];
    const late = commit(run, a);
    judge(run, commit(run, b), [accept, accept]);
    run.merge();
    run.publish();
    judge(run, late, [accept, accept]);
    for (const outerStep of [1, 2]) {
      run.due();
      judge(run, commit(run, b), [accept, accept]);
      run.merge();
      expect(codeOf(run.publish()!), `publish ${outerStep}`).toBe('OK');
    }
    run.due();
    const { claims } = proposeMerge(run.state, 3);
    expect(claims).toEqual([{ claim: late.id, tokens: toDecimal(16 / 3), staleness: 1 }]);
  });

  it('are void once their fragment has moved on past the bound', () => {
    const run = openRun();
    const [a, b] = run.miners as [Member, Member, Member];
    const late = commit(run, a);
    for (let outerStep = 0; outerStep < 4; outerStep++) {
      if (outerStep > 0) run.due();
      judge(run, commit(run, b), [accept, accept]);
      expect(codeOf(run.merge()!)).toBe('OK');
      run.publish();
      if (run.state.nextOuterStep % 3 === 0) run.lease(b);
    }
    expect(run.state.fragments[0]!.version).toBe(2);
    judge(run, late, [accept, accept]);
    expect(late).toMatchObject({ status: 'voided', code: 'STALE' });
    expect(run.state.learners.get(a.id)).toMatchObject({ lastCode: 'STALE', cellTokens: 0 });
  });

  it('need two verdicts that agree; after a refusal tests of the hotkey begin again', () => {
    const run = openRun();
    const [a, b, c] = run.miners as [Member, Member, Member];
    const [tie, bad, gone] = [commit(run, a), commit(run, b), commit(run, c)];
    judge(run, tie, [accept, rejectIt]);
    expect(tie).toMatchObject({ status: 'revealed', dispute: { reason: 'disagreement', closedAtMs: null } });
    judge(run, bad, [rejectIt, rejectIt]);
    judge(run, gone, [ignoreIt, ignoreIt]);
    expect(bad).toMatchObject({ status: 'refused', code: 'HARMFUL' });
    expect(gone).toMatchObject({ status: 'voided', code: 'MISSING' });
    expect(run.state.hotkeys.get(a.hotkey.hotkey)!.testAllBelow).toBe(4);
    expect(codeOf(run.merge()!)).toBe('NO_CLAIMS');
  });

  it('are drawn for again when a validator does not answer', () => {
    const run = openRun();
    const claim = commit(run, run.miners[0]!);
    judge(run, claim, [accept]);
    const owing = run.validators.filter(({ hotkey }) => !verdictsOwed(run.state, hotkey.hotkey).next().done);
    expect(owing.map(({ hotkey }) => hotkey.hotkey)).toEqual([claim.beacon!.committee[1]]);
    expect(refused(run, () => run.beacon(claim))).toBe('DUPLICATE');
    run.nowMs += 20_000;
    const candidates = run.beaconBody(claim).candidates.slice(0, 1);
    const body = run.beaconBody(claim);
    const alone = { ...body, candidates, committee: [candidates[0]!.hotkey] };
    const gainTested = claim.beacon!.gainTested;
    expect(codeOf(run.send('claim-beacon', { ...alone, gainTested }))).toBe('OK');
    expect(codeOf(run.verdict(claim, accept)!)).toBe('OK');
    expect(claim.status).toBe('accepted');
  });
});

describe('refusals of claims', () => {
  const cases: [lie: number, code: string][] = [
    [20, 'WRONG_FRAGMENT'],
    [21, 'WRONG_VERSION'],
    [22, 'NOT_LEASED'],
    [25, 'WRONG_TRACE'],
    [26, 'NOT_DUE'],
    [27, 'WRONG_PHASE'],
  ];
  it.each(cases)('lie %d is refused with %s and changes nothing', (lie, code) => {
    const run = openRun();
    expect(refused(run, () => run.commit(run.miners[0]!, lie))).toBe(code);
  });

  it('a claim again, for sequences again, too soon, with too many sequences or steps', () => {
    const run = openRun();
    const [a] = run.miners as [Member, Member, Member];
    commit(run, a);
    expect(refused(run, () => run.replay(run.entries.length - 1))).toBe('DUPLICATE');
    const again = run.claimBody(a)!;
    expect(refused(run, () => run.send('claim-commit', again, a.session))).toBe('DUPLICATE');
    run.nowMs += 6_000;
    judge(run, [...run.state.claims.values()][0]!, [accept, accept]);
    run.merge();
    run.publish();
    for (const body of [1, 2]) {
      run.due();
      judge(run, commit(run, a), [accept, accept]);
      run.merge();
      expect(codeOf(run.publish()!), `publish ${body}`).toBe('OK');
    }
    run.lease(a);
    run.due();
    const body = run.claimBody(a)!;
    const offer = (changes: Partial<typeof body>) =>
      refused(run, () => run.send('claim-commit', { ...body, ...changes }, a.session));
    expect(body.steps).toEqual([2, 8]);
    expect(offer({ steps: [0, 8] })).toBe('WRONG_STEPS');
    expect(offer({ sequences: [[0, 4], ...body.sequences.filter(([from]) => from > 4)] })).toBe('DOUBLE_COUNT');
    const longer = body.sequences.map(([from, to]): [number, number] => [from, from === 36 ? to + 2 : to]);
    expect(longer).not.toEqual(body.sequences);
    expect(offer({ sequences: longer })).toBe('TOO_MANY');
    expect(offer({ steps: [2, 7], trace: { ...body.trace, lines: [6, 7] } })).toBe('TOO_SOON');
    expect(offer({ sequences: [...body.sequences].reverse().concat(body.sequences) })).toBe('MALFORMED');
    expect(codeOf(run.send('claim-commit', body, a.session))).toBe('OK');
  });

  it('verdicts of strangers, twice, or before the bytes are there', () => {
    const run = openRun();
    const claim = commit(run, run.miners[0]!);
    const verdict = (member: Member, outcome: 'accept' | 'reject' = 'accept') =>
      run.send(
        'verdict',
        {
          claim: claim.id,
          round: 'committee',
          outcome,
          code: 'OK',
          sentence: '',
          measurements: {},
          details: null,
          accused: [],
        },
        member.session,
      );
    expect(refused(run, () => verdict(run.validators[0]!))).toBe('NOT_REVEALED');
    judge(run, claim, []);
    const drawn = run.validators.filter(({ hotkey }) => claim.beacon!.committee.includes(hotkey.hotkey));
    const other = run.validators.find((validator) => !drawn.includes(validator))!;
    expect(refused(run, () => verdict(other))).toBe('NOT_COMMITTEE');
    expect(refused(run, () => verdict(drawn[0]!, 'reject'))).toBe('MALFORMED');
    expect(refused(run, () => verdict(run.miners[0]!))).toBe('WRONG_ROLE');
    expect(codeOf(verdict(drawn[0]!))).toBe('OK');
    expect(refused(run, () => verdict(drawn[0]!))).toBe('DUPLICATE');
    expect(codeOf(verdict(drawn[1]!))).toBe('OK');
    expect(refused(run, () => verdict(drawn[1]!))).toBe('DUPLICATE');
  });

  it('a beacon that is not what its block draws', () => {
    const run = openRun();
    const body = run.beaconBody(commit(run, run.miners[0]!));
    const offer = (changes: Partial<typeof body>) =>
      refused(run, () => run.send('claim-beacon', { ...body, ...changes }));
    expect(offer({ committee: [...body.committee].reverse() })).toBe('WRONG_DRAW');
    expect(offer({ gainTested: false })).toBe('WRONG_DRAW');
    expect(offer({ block: body.block + 1 })).toBe('WRONG_BLOCK');
    expect(offer({ candidates: [] })).toBe('NO_CANDIDATES');
    expect(offer({ candidates: [...body.candidates].reverse() })).toBe('MALFORMED');
    expect(offer({ candidates: [{ hotkey: run.miners[2]!.hotkey.hotkey, stakeRao: 9 }] })).toBe('NOT_DELEGATED');
  });

  it('a merge of other claims than those that were accepted', () => {
    const run = openRun();
    for (const miner of run.miners) judge(run, commit(run, miner), [accept, accept]);
    const body = proposeMerge(run.state, 0);
    const offer = (changes: Partial<typeof body>) => refused(run, () => run.send('merge', { ...body, ...changes }));
    expect(offer({ claims: body.claims.slice(1) })).toBe('WRONG_CLAIMS');
    expect(offer({ claims: [...body.claims].reverse() })).toBe('WRONG_CLAIMS');
    expect(offer({ claims: body.claims.map((claim) => ({ ...claim, tokens: toDecimal(9) })) })).toBe('WRONG_CLAIMS');
    expect(offer({ fromVersion: 1 })).toBe('WRONG_VERSION');
    expect(offer({ outerStep: 3 })).toBe('NOT_DUE');
  });
});

describe('leases', () => {
  it('come from the pool first, and give back only what no trace covers', () => {
    const run = openRun();
    const [a] = run.miners as [Member, Member, Member];
    const claim = commit(run, a);
    expect(claim.body.sequences).toEqual([[0, 4]]);
    expect(codeOf(run.send('lease-return', { lease: 0, reason: 'returned' }, a.session))).toBe('OK');
    expect(run.state.pool[0]).toEqual([[4, 12]]);
    expect(nextLeaseRange(run.state, 0, 12)).toEqual([4, 12]);
    expect(codeOf(run.lease(run.miners[1]!))).toBe('OK');
    expect(run.state.pool[0]).toEqual([]);
    expect(nextLeaseRange(run.state, 0, 12)).toEqual([36, 48]);
  });

  it('expire only after silence, and only their holder returns them', () => {
    const run = openRun();
    const expire = () => run.send('lease-return', { lease: 0, reason: 'expired' });
    expect(refused(run, expire)).toBe('NOT_EXPIRED');
    expect(refused(run, () => run.send('lease-return', { lease: 0, reason: 'left' }))).toBe('NOT_EXPIRED');
    const byOther = () => run.send('lease-return', { lease: 0, reason: 'returned' }, run.miners[2]!.session);
    expect(refused(run, byOther)).toBe('NOT_YOURS');
    run.nowMs += 10_000;
    expect(codeOf(expire())).toBe('OK');
    expect(refused(run, expire)).toBe('LEASE_CLOSED');
    // What is no longer leased cannot be claimed.
    expect(run.claimBody(run.miners[0]!)).toBeNull();
  });
});

describe('membership', () => {
  it('replayed joins, leaves and delegations change nothing', () => {
    const run = openRun();
    const [a] = run.miners as [Member, Member, Member];
    const joined = run.entries.findIndex(({ message }) => message.kind === 'join');
    const delegated = run.entries.findIndex(({ message }) => message.kind === 'delegate');
    expect(refused(run, () => run.replay(joined))).toBe('DUPLICATE');
    expect(refused(run, () => run.replay(delegated))).toBe('DUPLICATE');
    run.nowMs += 10;
    expect(codeOf(run.leave(a))).toBe('OK');
    expect(refused(run, () => run.replay(joined))).toBe('DUPLICATE');
    expect(refused(run, () => run.leave(a))).toBe('NOT_JOINED');
  });

  it('a learner that joins again goes on from its committed trace', () => {
    const run = openRun();
    const [a] = run.miners as [Member, Member, Member];
    commit(run, a);
    run.nowMs += 10;
    expect(codeOf(run.join(a))).toBe('OK');
    expect(run.state.learners.get(a.id)).toMatchObject({ innerSteps: 2, claimedThrough: [2, 2, 2], segments: [] });
  });

  it('a revoked, expired or strange session key does not act', () => {
    const run = openRun();
    const [a] = run.miners as [Member, Member, Member];
    const stranger: Member = { ...a, session: testSession('stranger') };
    expect(refused(run, () => run.join(stranger))).toBe('NOT_DELEGATED');
    const body = { hotkey: a.hotkey.hotkey, role: 'miner', name: 'a', sessionKey: a.session.sessionKey } as const;
    run.nowMs += 10;
    run.must('delegate', { ...body, issuedAtMs: run.nowMs, expiresAtMs: 0 }, a.hotkey);
    expect(refused(run, () => run.leave(a))).toBe('NOT_DELEGATED');
  });

  it('a delegation must be signed by its hotkey, a syncer named by the owner, a session key used once', () => {
    const run = openRun();
    const [a] = run.miners as [Member, Member, Member];
    const other = testHotkey('other');
    const body = {
      hotkey: a.hotkey.hotkey,
      role: 'miner',
      name: 'new',
      sessionKey: testSession('new').sessionKey,
      issuedAtMs: run.nowMs,
      expiresAtMs: run.nowMs + 1,
    } as const;
    expect(refused(run, () => run.send('delegate', body, other))).toBe('NOT_YOURS');
    expect(refused(run, () => run.send('delegate', { ...body, role: 'syncer' }, a.hotkey))).toBe('NOT_OWNER');
    const used = { ...body, sessionKey: a.session.sessionKey };
    expect(refused(run, () => run.send('delegate', used, a.hotkey))).toBe('KEY_IN_USE');
    expect(refused(run, () => run.send('join', joinBody(run), run.syncer))).toBe('WRONG_ROLE');
  });

  it('only a run event of its owner begins a journal', () => {
    const run = new TestRun();
    const stranger = testHotkey('stranger');
    const start = [0, 1, 2].map((i) => testArtifact(`start ${i}`));
    run.state = emptyState();
    run.entries.length = 0;
    const { manifest } = run;
    expect(codeOf(run.send('run', { manifest, start }, stranger))).toBe('NOT_OWNER');
    expect(codeOf(run.send('leave', { atMs: 0 }))).toBe('NO_RUN');
    const other = testManifest({ name: 'other' });
    expect(codeOf(run.send('run', { manifest: other, start }, testHotkey('owner')))).toBe('WRONG_RUN');
  });
});

const joinBody = (run: TestRun) => ({ atMs: run.nowMs, threads: 1, memoryGib: 1, machineClass: '' });

describe('milestones', () => {
  it('weights are linear in merged tokens, and a tenth goes to verdicts', () => {
    const run = openRun();
    const [a, b, c] = run.miners as [Member, Member, Member];
    run.send('tempo', { tempo: 0, block: 1, blockHash: run.context.run });
    for (const miner of [a, b, c]) judge(run, commit(run, miner), [accept, accept]);
    run.merge();
    run.publish();
    expect(weightsOf(run.state).size).toBe(0);
    run.send('tempo', { tempo: 1, block: 11, blockHash: run.context.run });
    const weights = weightsOf(run.state);
    // Two learners of one hotkey earn what two hotkeys would.
    expect(weights.get(a.hotkey.hotkey)).toBeCloseTo((0.9 * 2) / 3, 12);
    expect(weights.get(c.hotkey.hotkey)).toBeCloseTo(0.9 / 3, 12);
    expect([...weights.values()].reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 12);
    run.send('tempo', { tempo: 3, block: 31, blockHash: run.context.run });
    // Two tempos are one half-life.
    expect(run.state.hotkeys.get(c.hotkey.hotkey)!.score).toBe(8);
  });

  it('tree heads and releases must be those of this journal', () => {
    const run = openRun();
    const head = treeHeadOf(run.state);
    expect(refused(run, () => run.send('tree-head', { ...head, size: 3, block: 1 }))).toBe('WRONG_TREE_HEAD');
    expect(codeOf(run.send('tree-head', { ...head, block: 1 }))).toBe('OK');
    const { message } = run.open('leave', { atMs: run.nowMs + 1 }, run.miners[0]!.session).entry;
    const seen = (seenHead: typeof message.seenHead) => () => run.offer(run.place({ ...message, seenHead }));
    expect(refused(run, seen({ size: head.size, root: run.context.run }))).toBe('OTHER_HISTORY');
    expect(codeOf(seen(head)())).toBe('OK');
    expect(codeOf(run.milestone(3))).toBe('OK');
    expect(refused(run, () => run.milestone(3))).toBe('NOT_READY');
    expect(refused(run, () => run.milestone(1))).toBe('PHASE_OPEN');
  });

  it('time does not go back, and an entry names the one before it', () => {
    const run = openRun();
    const opened = run.open('leave', { atMs: run.nowMs + 1 }, run.miners[0]!.session);
    const offer = (changes: Partial<typeof opened.entry>) =>
      refused(run, () => run.offer({ ...opened, entry: { ...opened.entry, ...changes } }));
    expect(offer({ timeMs: 1 })).toBe('TIME');
    expect(offer({ seq: 0 })).toBe('NOT_NEXT');
    expect(offer({ prevHash: run.context.run })).toBe('NOT_NEXT');
  });
});
