/** @file The orchestrator's decisions over the real fold: when each event is due, what is asked for, and what is not. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Member } from '../../../tests/support/run-driver.ts';
import { testManifest, testSession } from '../../../tests/support/run-fixture.ts';
import { blockHashOf, SyncerDriver } from '../../../tests/support/syncer-driver.ts';
import { drawCommittee } from '../../protocol/draw.ts';
import type { RunManifest } from '../../protocol/manifest.ts';
import type { EventBody, RunEvent } from '../../protocol/messages.ts';
import { heartbeatFreshMs, leaseFor, step } from './step.ts';

interface Started {
  readonly syncer: SyncerDriver;
  readonly a: Member;
  readonly b: Member;
  readonly c: Member;
}

/** Three learners (a and b of one hotkey) have joined; outer step 0 is open. */
function started(changes: Partial<RunManifest> = {}): Started {
  const syncer = new SyncerDriver(changes);
  const [a, b, c] = syncer.run.miners as [Member, Member, Member];
  syncer.start();
  syncer.join(a, b, c);
  slowSteps(syncer);
  return { syncer, a, b, c };
}

/** Inner steps that take long: the grace is the longest that the manifest allows. */
function slowSteps(syncer: SyncerDriver): void {
  syncer.state = { ...syncer.state, averages: { stepMs: 10_000, quorumMs: 0, syncMs: 0 } };
}

const lastOf = <K extends RunEvent['kind']>(syncer: SyncerDriver, kind: K): EventBody<K> =>
  syncer.journaled.findLast((event) => event.kind === kind)?.body as EventBody<K>;
const countOf = (syncer: SyncerDriver, kind: string): number => syncer.kinds.filter((each) => each === kind).length;
const { deadlineMs, grace, leaseMs } = new SyncerDriver().run.manifest.sync;

/** Heartbeats go on while time passes. */
function pass(syncer: SyncerDriver, ms: number, alive: readonly Member[] = syncer.run.miners): void {
  for (let left = ms; left > 0; left -= 1_000) {
    syncer.beat('miner', ...alive);
    syncer.beat('validator', ...syncer.run.validators);
    syncer.wait(Math.min(1_000, left));
  }
}

describe('beginning', () => {
  it('journals release 0, then tempo and tree head, and no outer step without a learner', () => {
    const syncer = new SyncerDriver();
    syncer.dispatch({ kind: 'tick' });
    expect(syncer.kinds).toEqual(['release']);
    expect(lastOf(syncer, 'release')).toMatchObject({ release: 0, parent: null, countedTokens: '0' });
    syncer.start();
    expect(syncer.kinds).toEqual(['release', 'tempo', 'tree-head']);
    syncer.wait(60_000);
    expect(syncer.kinds).toHaveLength(3);
    syncer.join(syncer.run.miners[0]!);
    expect(syncer.kinds.slice(3)).toEqual(['fragment-due']);
    expect(syncer.refused).toEqual([]);
  });

  it('wants nothing of a journal without a run', () => {
    const { state } = new SyncerDriver();
    const [, effects] = step({ ...state, run: { ...state.run, run: null } }, { kind: 'tick', nowMs: 1 });
    expect(effects).toEqual([]);
  });

  it('has one own event on its way at a time', () => {
    const syncer = new SyncerDriver();
    syncer.isJournaling = false;
    syncer.start();
    syncer.wait(1_000);
    expect(syncer.wanted.map(({ kind }) => kind)).toEqual(['release']);
    syncer.dispatch({ kind: 'settled' });
    expect(syncer.wanted.map(({ kind }) => kind)).toEqual(['release', 'release']);
  });
});

describe('merges', () => {
  it('at once when every live learner is in', () => {
    const { syncer, a, b, c } = started();
    const claims = [a, b].map((miner) => syncer.claim(miner));
    expect(countOf(syncer, 'merge')).toBe(0);
    claims.push(syncer.claim(c));
    expect(
      lastOf(syncer, 'merge')
        .claims.map(({ claim }) => claim)
        .sort(),
    ).toEqual(claims.map(({ id }) => id).sort());
  });

  it('at quorum when the grace is over, not before', () => {
    const { syncer, a, c } = started();
    syncer.claim(a);
    syncer.wait(1_000);
    expect(countOf(syncer, 'merge')).toBe(0);
    const late = syncer.commit(c);
    syncer.reveal(late);
    syncer.blocks(2);
    syncer.judge(late);
    expect(syncer.state.quorumAtMs).toBe(syncer.run.nowMs);
    syncer.wait(grace.maxMs - 1);
    expect(countOf(syncer, 'merge')).toBe(0);
    syncer.wait(1);
    expect(lastOf(syncer, 'merge').claims).toHaveLength(2);
    expect(syncer.state.quorumAtMs).toBeNull();
  });

  it('never below quorum before the deadline, and with what there is at it', () => {
    const { syncer, a } = started();
    syncer.claim(a);
    pass(syncer, syncer.run.state.due!.deadlineMs - 1 - syncer.run.nowMs);
    expect(countOf(syncer, 'merge')).toBe(0);
    syncer.wait(1);
    expect(lastOf(syncer, 'merge').claims).toHaveLength(1);
  });

  it('counts learners, not claims, towards the quorum', () => {
    const { syncer, a } = started();
    syncer.claim(a);
    // Two more outer steps pass without a claim; then the same learner claims the fragment again.
    for (let i = 0; i < 3; i++) syncer.run.state.due = null;
    syncer.run.state.nextOuterStep = 3;
    syncer.dispatch({ kind: 'tick' });
    syncer.claim(a);
    expect(syncer.run.state.due).toMatchObject({ outerStep: 3, fragment: 0 });
    syncer.wait(grace.maxMs);
    expect(syncer.state.quorumAtMs).toBeNull();
    expect(countOf(syncer, 'merge')).toBe(0);
  });

  it('does not wait for a learner that fell silent or left', () => {
    const { syncer, a, b, c } = started();
    for (const miner of [a, b]) syncer.claim(miner);
    syncer.leave(c);
    expect(countOf(syncer, 'merge')).toBe(1);

    const other = started();
    other.syncer.claim(other.a);
    pass(other.syncer, heartbeatFreshMs / 2, [other.a]);
    expect(countOf(other.syncer, 'merge')).toBe(0);
  });

  it('does not wait for a learner on probation, and merges nothing of it', () => {
    const { syncer, a, b, c } = started();
    const of = syncer.claim(c);
    syncer.run.state.hotkeys.get(c.hotkey.hotkey)!.probationFromMs = syncer.run.nowMs;
    const claims = [a, b].map((miner) => syncer.claim(miner).id);
    expect(
      lastOf(syncer, 'merge')
        .claims.map(({ claim }) => claim)
        .sort(),
    ).toEqual(claims.sort());
    expect(of.status).toBe('accepted');
    expect(syncer.refused).toEqual([]);
  });

  it('after a restart waits for learners that have not been heard yet', () => {
    const { syncer, a } = started();
    syncer.claim(a);
    syncer.restart();
    syncer.wait(10);
    expect(countOf(syncer, 'merge')).toBe(0);
    syncer.run.state.due = { ...syncer.run.state.due!, deadlineMs: syncer.run.nowMs + 60_000 };
    pass(syncer, heartbeatFreshMs + 1_000, [a]);
    expect(countOf(syncer, 'merge')).toBe(1);
  });

  it('asks for the computation once, again after a failure, and not after it is done', () => {
    const { syncer, a, b, c } = started();
    for (const miner of [a, b, c]) syncer.claim(miner);
    const merges = () => syncer.work.filter(({ kind }) => kind === 'compute-merge');
    expect(merges()).toEqual([{ kind: 'compute-merge', key: 'merge-0', fragment: 0 }]);
    syncer.wait(5_000);
    expect(merges()).toHaveLength(1);
    syncer.dispatch({ kind: 'failed', key: 'merge-0' });
    expect(merges()).toHaveLength(2);
    syncer.publish();
    syncer.dispatch({ kind: 'done', key: 'merge-0' });
    syncer.wait(5_000);
    expect(merges()).toHaveLength(2);
    expect(syncer.state.averages.syncMs).toBeGreaterThan(0);
  });

  it('a restart asks for a merge that was not published', () => {
    const { syncer, a, b, c } = started();
    for (const miner of [a, b, c]) syncer.claim(miner);
    syncer.restart();
    syncer.wait(10);
    expect(syncer.work).toContainEqual({ kind: 'compute-merge', key: 'merge-0', fragment: 0 });
  });
});

describe('outer steps', () => {
  it('one without claims closes at its deadline, and the next opens', () => {
    const { syncer } = started();
    expect(lastOf(syncer, 'fragment-due')).toMatchObject({ outerStep: 0, fragment: 0 });
    pass(syncer, deadlineMs);
    expect(lastOf(syncer, 'fragment-due')).toMatchObject({ outerStep: 1, fragment: 1 });
    expect(lastOf(syncer, 'fragment-due').deadlineMs).toBe(syncer.run.nowMs + deadlineMs);
    expect(countOf(syncer, 'merge')).toBe(0);
  });

  it('the next opens while the last is computed, but not of a fragment that is being merged', () => {
    const { syncer, a, b, c } = started();
    for (const miner of [a, b, c]) syncer.claim(miner);
    expect(syncer.run.state.due).toMatchObject({ outerStep: 1 });
    for (let i = 0; i < 2; i++) pass(syncer, deadlineMs);
    expect(syncer.run.state.due).toMatchObject({ outerStep: 2 });
    // Outer step 3 is about fragment 0, whose merge is not published: the other rules go on meanwhile.
    syncer.blocks(40);
    expect(syncer.refused).toEqual([]);
    expect(lastOf(syncer, 'tempo')).toMatchObject({ tempo: 14 });
    syncer.publish();
    expect(syncer.run.state.due).toMatchObject({ outerStep: 3 });
  });
});

describe('beacon', () => {
  const beacons = (syncer: SyncerDriver): EventBody<'claim-beacon'>[] =>
    syncer.journaled.flatMap((event) => (event.kind === 'claim-beacon' ? [event.body] : []));

  it('is the block after the block that follows the commit', () => {
    const { syncer, a } = started();
    const claim = syncer.commit(a);
    const commitBlock = syncer.blockNumber;
    syncer.blocks();
    expect(beacons(syncer)).toEqual([]);
    syncer.blocks();
    const [body] = beacons(syncer);
    const blockHash = blockHashOf(commitBlock + 2);
    expect(body).toMatchObject({ claim: claim.id, commitBlock, block: commitBlock + 2, blockHash });
    expect(body!.committee).toEqual(
      drawCommittee({ blockHash, claim: claim.id, candidates: body!.candidates, size: 2 }),
    );
    expect(syncer.refused).toEqual([]);
  });

  it('draws from validators with a fresh heartbeat and stake', () => {
    const { syncer, a } = started();
    const [v0, v1, v2] = syncer.run.validators as [Member, Member, Member];
    pass(syncer, 1_000);
    syncer.run.nowMs += heartbeatFreshMs;
    syncer.beat('validator', v0, v2);
    const stakeRao = new Map([v1, v2].map(({ hotkey }) => [hotkey.hotkey, 5_000]));
    syncer.dispatch({ kind: 'stake', stakeRao });
    syncer.commit(a);
    syncer.blocks(2);
    expect(beacons(syncer)[0]!.candidates).toEqual([{ hotkey: v2.hotkey.hotkey, stakeRao: 5_000 }]);
  });

  it('waits while no validator is fresh, and other decisions do not', () => {
    const { syncer, a } = started();
    syncer.run.nowMs += heartbeatFreshMs;
    syncer.commit(a);
    syncer.blocks(40);
    expect(beacons(syncer)).toEqual([]);
    expect(countOf(syncer, 'tempo')).toBeGreaterThan(1);
    syncer.beat('validator', ...syncer.run.validators);
    expect(beacons(syncer)).toHaveLength(1);
  });

  it('does not offer a validator its own claims', () => {
    const { syncer, a } = started();
    const { run } = syncer;
    run.delegate(a.hotkey, 'validator', 'both', testSession('both'));
    syncer.dispatch({ kind: 'stake', stakeRao: new Map([[a.hotkey.hotkey, 9_000]]) });
    syncer.dispatch({ kind: 'heartbeat', role: 'validator', hotkey: a.hotkey.hotkey, learner: a.id });
    syncer.commit(a);
    syncer.blocks(2);
    expect(syncer.refused).toEqual([]);
    expect(beacons(syncer)).toEqual([]);
    syncer.dispatch({ kind: 'stake', stakeRao: new Map(run.validators.map(({ hotkey }) => [hotkey.hotkey, 10])) });
    expect(beacons(syncer)[0]!.candidates).toHaveLength(3);
  });

  it('of a commit whose block was not seen is one that nobody knew when the syncer was back', () => {
    const { syncer, a } = started();
    const claim = syncer.commit(a);
    syncer.restart();
    syncer.start();
    const backAt = syncer.blockNumber;
    expect(beacons(syncer)).toEqual([]);
    syncer.blocks(2);
    expect(beacons(syncer)).toMatchObject([{ claim: claim.id, commitBlock: backAt, block: backAt + 2 }]);
  });

  it('of a commit before the first block, and of blocks that were slept through, comes too', () => {
    const { syncer, a, c } = started();
    syncer.restart();
    syncer.dispatch({
      kind: 'stake',
      stakeRao: new Map(syncer.run.validators.map(({ hotkey }) => [hotkey.hotkey, 9])),
    });
    syncer.beat('validator', ...syncer.run.validators);
    syncer.commit(a);
    syncer.blocks(3);
    expect(beacons(syncer)).toHaveLength(1);
    syncer.commit(c);
    syncer.blockNumber += 50;
    syncer.blocks(3);
    expect(beacons(syncer)).toHaveLength(2);
    expect(syncer.refused).toEqual([]);
  });

  it('is drawn again after the verdict timeout, from a newer block', () => {
    const { syncer, a } = started();
    const claim = syncer.commit(a);
    syncer.blocks(2);
    pass(syncer, 15_000);
    syncer.reveal(claim);
    pass(syncer, 19_999);
    expect(beacons(syncer)).toHaveLength(1);
    // No block since the first draw: a second from the same would be refused, and would keep all else from going on.
    pass(syncer, 1);
    expect(beacons(syncer)).toHaveLength(1);
    expect(syncer.refused).toEqual([]);
    syncer.blocks();
    expect(beacons(syncer)[1]).toMatchObject({ block: syncer.blockNumber });
    syncer.judge(claim);
    expect(claim.status).toBe('accepted');
  });
});

describe('voids', () => {
  it('MISSING when the bytes were not revealed in time', () => {
    const { syncer, a } = started();
    const claim = syncer.commit(a);
    pass(syncer, 29_999);
    expect(claim.status).not.toBe('voided');
    syncer.wait(1);
    expect(lastOf(syncer, 'claim-void')).toMatchObject({ claim: claim.id, code: 'MISSING' });
    expect(claim.sentence).toContain('30 s');
    expect(syncer.refused).toEqual([]);
  });

  it('later, where the manifest leaves learners more time', () => {
    const { syncer, a } = started({ sync: { ...testManifest().sync, revealMs: 60_000 } });
    const claim = syncer.commit(a);
    pass(syncer, 59_999);
    expect(claim.status).not.toBe('voided');
    syncer.wait(1);
    expect(claim).toMatchObject({ status: 'voided', code: 'MISSING', sentence: expect.stringContaining('60 s') });
    expect(syncer.refused).toEqual([]);
  });

  it('not for the time that the syncer was away', () => {
    const { syncer, a } = started();
    const claim = syncer.commit(a);
    syncer.run.nowMs += 3_600_000;
    syncer.restart();
    pass(syncer, 29_000);
    expect(claim.status).toBe('committed');
    pass(syncer, 2_000);
    expect(claim.code).toBe('MISSING');
  });

  it('STALE when the fragment moved on past the bound', () => {
    const { syncer, a } = started();
    const claim = syncer.commit(a);
    syncer.run.state.fragments[0]!.version = 2;
    syncer.state.staleCheck.add(0); // as the event of that version does
    syncer.dispatch({ kind: 'tick' });
    expect(lastOf(syncer, 'claim-void')).toMatchObject({ claim: claim.id, code: 'STALE' });
    expect(claim.sentence).toContain('at most 1');
    expect(syncer.refused).toEqual([]);
  });
});

describe('leases', () => {
  const grant = (syncer: SyncerDriver, miner: Member): EventBody<'lease'> | null =>
    leaseFor(syncer.state, syncer.run.state.learners.get(miner.id)!, syncer.run.nowMs);
  const take = (syncer: SyncerDriver, miner: Member): EventBody<'lease'> => {
    const body = grant(syncer, miner)!;
    syncer.run.must('lease', body);
    return body;
  };

  it('are two at most, one after another along the order', () => {
    const { syncer, a, c } = started();
    const ranges = [a, c, a].map((miner) => take(syncer, miner).range);
    expect(ranges).toEqual([
      [0, 12],
      [12, 24],
      [24, 36],
    ]);
    expect(grant(syncer, a)).toBeNull();
    expect(grant(syncer, c)).toMatchObject({ range: [36, 48], deadlineMs: syncer.run.nowMs + leaseMs });
  });

  it('say where in the schedule they are: trained tokens, then the pace of all live learners', () => {
    const { syncer, a, b, c } = started();
    expect(take(syncer, a).scheduleTokens).toEqual([0, 12 * 3 * 4]);
    expect(take(syncer, c).scheduleTokens).toEqual([0, 12 * 3 * 4]);
    // The learner's own lease comes first.
    expect(take(syncer, a).scheduleTokens).toEqual([144, 288]);
    syncer.claim(c);
    expect(take(syncer, b).scheduleTokens).toEqual([4 * 4, 4 * 4 + 144]);
    syncer.leave(c);
    const { range, scheduleTokens } = grant(syncer, b)!;
    expect(scheduleTokens[1] - scheduleTokens[0]).toBe((range[1] - range[0]) * 2 * 4);
  });

  it('come from the pool first', () => {
    const { syncer, a, b, c } = started();
    take(syncer, a);
    take(syncer, c);
    syncer.claim(a);
    syncer.leave(a);
    expect(lastOf(syncer, 'lease-return')).toMatchObject({ lease: 0, reason: 'left' });
    expect(take(syncer, b).range).toEqual([4, 12]);
    expect(take(syncer, b).range).toEqual([24, 36]);
    expect(syncer.refused).toEqual([]);
  });

  it('are for learners in the run, and none once it has stopped', () => {
    const { syncer, a, b } = started();
    syncer.leave(a);
    expect(grant(syncer, a)).toBeNull();
    syncer.state = { ...syncer.state, stop: { state: 'stopped', atMs: 0 } as never };
    expect(grant(syncer, b)).toBeNull();
  });

  it('expire of learners that fell silent, not of slow ones', () => {
    const { syncer, a, c } = started();
    take(syncer, a);
    take(syncer, c);
    pass(syncer, leaseMs + 10_000, [c]);
    expect(countOf(syncer, 'lease-return')).toBe(1);
    expect(lastOf(syncer, 'lease-return')).toEqual({ lease: 0, reason: 'expired' });
    expect(syncer.refused).toEqual([]);
  });

  it('expire also of a learner that was never heard since the syncer started', () => {
    const { syncer, a } = started();
    take(syncer, a);
    syncer.restart();
    pass(syncer, leaseMs + heartbeatFreshMs + 1_000, []);
    expect(lastOf(syncer, 'lease-return')).toEqual({ lease: 0, reason: 'expired' });
  });

  it('of an earlier life go back when their learner joins again', () => {
    const { syncer, a } = started();
    take(syncer, a);
    take(syncer, a);
    syncer.run.nowMs += 500;
    syncer.join(a);
    expect(countOf(syncer, 'lease-return')).toBe(2);
    expect(grant(syncer, a)).toMatchObject({ range: [0, 12] });
    expect(syncer.refused).toEqual([]);
  });
});

describe('milestones', () => {
  /** Merges and publishes the due fragment. */
  const round = (syncer: SyncerDriver): void => {
    slowSteps(syncer);
    for (const miner of syncer.run.miners) syncer.claim(miner);
    syncer.publish();
    syncer.dispatch({ kind: 'done', key: `merge-${syncer.run.state.nextOuterStep - 1}` });
  };

  it('a release when every fragment was merged since the last one', () => {
    const { syncer } = started();
    for (let i = 0; i < 3; i++) {
      expect(countOf(syncer, 'release')).toBe(1);
      round(syncer);
    }
    expect(lastOf(syncer, 'release')).toMatchObject({ release: 1, versions: [1, 1, 1] });
    expect(lastOf(syncer, 'release').parent).toBe(syncer.run.state.releases[0]!.id);
    round(syncer);
    expect(countOf(syncer, 'release')).toBe(2);
    expect(syncer.refused).toEqual([]);
  });

  it('a phase change when the target is merged', () => {
    const { syncer } = started();
    for (let i = 0; i < 40 && syncer.run.state.phase === 0; i++) round(syncer);
    const { outerStep } = syncer.run.state.phases[1]!;
    const cursor = syncer.run.state.cursor[0];
    expect(lastOf(syncer, 'phase-change')).toEqual({ phase: 1, outerStep, cursor });
    expect(syncer.refused).toEqual([]);
  });

  it('one tempo and then one tree head, anchored once', () => {
    const { syncer } = started();
    const before = syncer.kinds.length;
    syncer.blocks(12);
    expect(syncer.kinds.slice(before)).toEqual(['tempo', 'tree-head']);
    expect(lastOf(syncer, 'tempo')).toMatchObject({ tempo: 11, block: 109, blockHash: blockHashOf(109) });
    const { size, root, block } = lastOf(syncer, 'tree-head');
    expect(block).toBe(109);
    const anchors = syncer.work.filter(({ kind }) => kind === 'anchor');
    expect(anchors.at(-1)).toEqual({ kind: 'anchor', key: `anchor-${size}`, root, size });
    syncer.dispatch({ kind: 'done', key: `anchor-${size}` });
    syncer.wait(1_000);
    expect(syncer.work.filter(({ kind }) => kind === 'anchor')).toEqual(anchors);
  });

  it('a release is written when its first evaluation is there, also if an older one is evaluated later', () => {
    const { syncer } = started();
    for (let i = 0; i < 3; i++) round(syncer);
    const [v0, v1] = syncer.run.validators as [Member, Member];
    const evaluate = (release: number, { session }: Member) => {
      syncer.run.must('evaluation', { release, losses: { 'held-out': '5.5' as never }, sequences: 4 }, session);
      syncer.tell();
    };
    const written = () => syncer.work.flatMap((each) => (each.kind === 'write-release' ? [each.release] : []));
    expect(written()).toEqual([]);
    evaluate(1, v0);
    evaluate(0, v1);
    evaluate(1, v1);
    expect(written()).toEqual([1]);
    syncer.dispatch({ kind: 'failed', key: 'release-1' });
    expect(written()).toEqual([1, 1]);
  });
});

describe('the end', () => {
  /** Runs until release 1 is due to be evaluated. */
  function released(): SyncerDriver {
    const { syncer } = started();
    for (let i = 0; i < 3; i++) {
      slowSteps(syncer);
      for (const miner of syncer.run.miners) syncer.claim(miner);
      syncer.publish();
      syncer.dispatch({ kind: 'done', key: `merge-${i}` });
    }
    for (const key of syncer.state.busy) syncer.dispatch({ kind: 'done', key });
    return syncer;
  }

  it('comes when claims are settled and merged and the last release is evaluated and written', () => {
    const syncer = released();
    const claim = syncer.commit(syncer.run.miners[0]!);
    syncer.dispatch({ kind: 'stop' });
    syncer.run.must('evaluation', { release: 1, losses: {}, sequences: 4 }, syncer.run.validators[0]!.session);
    syncer.tell();
    expect(syncer.state.stop.state).toBe('stopping');
    expect(syncer.work.at(-1)).toMatchObject({ kind: 'write-release', release: 1 });
    syncer.dispatch({ kind: 'done', key: 'release-1' });
    expect(syncer.state.stop.state).toBe('stopping');
    syncer.reveal(claim);
    syncer.blocks(2);
    syncer.judge(claim);
    for (const miner of syncer.run.miners) syncer.leave(miner);
    expect(lastOf(syncer, 'merge').claims).toMatchObject([{ claim: claim.id }]);
    syncer.publish();
    for (const key of syncer.state.busy) syncer.dispatch({ kind: 'done', key });
    expect(syncer.state.stop.state).toBe('stopped');
    const before = syncer.journaled.length;
    syncer.blocks(30);
    syncer.wait(60_000);
    expect(syncer.journaled).toHaveLength(before);
  });

  it('is not there between the evaluation and the written folder', () => {
    const syncer = released();
    syncer.dispatch({ kind: 'stop' });
    syncer.run.must('evaluation', { release: 1, losses: {}, sequences: 4 }, syncer.run.validators[0]!.session);
    syncer.tell();
    expect(syncer.state.stop.state).toBe('stopping');
    syncer.dispatch({ kind: 'done', key: 'release-1' });
    expect(syncer.state.stop.state).toBe('stopped');
  });

  it('opens no outer step', () => {
    const syncer = released();
    const opened = countOf(syncer, 'fragment-due');
    syncer.dispatch({ kind: 'stop' });
    pass(syncer, 2 * deadlineMs);
    expect(countOf(syncer, 'fragment-due')).toBe(opened);
  });

  it('comes at the latest after its time limit', () => {
    const syncer = released();
    syncer.dispatch({ kind: 'stop' });
    pass(syncer, 15_000);
    expect(syncer.state.stop.state).toBe('stopping');
    syncer.wait(1);
    expect(syncer.state.stop.state).toBe('stopped');
  });
});

it('whatever happens in whatever order, no own event breaks a rule and no merge is below quorum before its deadline', () => {
  const command = fc.record({ op: fc.nat(18), a: fc.nat(2), ms: fc.constantFrom(10, 200, 3_000, 9_000) });
  let merges = 0;
  fc.assert(
    fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
      const { syncer } = started();
      for (const { op, a, ms } of commands) {
        act(syncer, op, a);
        syncer.wait(ms);
        expect(syncer.refused, JSON.stringify(commands)).toEqual([]);
      }
      merges += syncer.merges.length;
      for (const { learners, live, isLate } of syncer.merges) {
        const quorum = Math.min(live, syncer.run.manifest.sync.quorum);
        expect(learners >= quorum || isLate, JSON.stringify(commands)).toBe(true);
      }
    }),
    { numRuns: 60, seed: 7 },
  );
  expect(merges).toBeGreaterThan(20);
});

function act(syncer: SyncerDriver, op: number, a: number): void {
  const { run } = syncer;
  const miner = run.miners[a]!;
  const learner = run.state.learners.get(miner.id)!;
  const claims = [...run.state.openClaims].map((id) => run.state.claims.get(id)!);
  const revealed = () => claims.find(({ status }) => status === 'revealed');
  const attempt = (send: () => unknown) => {
    const admission = send() as { outcome: string } | null;
    if (admission?.outcome === 'accept') syncer.tell();
  };
  if (op === 0) syncer.restart();
  else if (op === 1) syncer.blocks(1 + a);
  else if (op === 2) syncer.blockNumber += 20;
  else if (op === 3) attempt(() => run.join(miner));
  else if (op === 4) attempt(() => run.leave(miner));
  else if (op === 5) syncer.beat('validator', ...run.validators);
  else if (op === 6) syncer.beat('miner', miner);
  else if (op === 7) syncer.start();
  else if (op === 8) attempt(() => run.publish());
  else if (op === 9 && learner.present) {
    const body = leaseFor(syncer.state, learner, run.nowMs);
    if (body !== null) run.must('lease', body);
  } else if (op === 10) attempt(() => run.commit(miner, 0));
  else if (op === 11) attempt(() => run.reveal(claims.find(({ revealedAtMs }) => revealedAtMs === null)));
  else if (op === 12) attempt(() => run.verdict(revealed(), 2));
  else if (op === 13) attempt(() => run.publish());
  else if (learner.present) {
    // A claim from lease to verdicts, as far as it gets.
    const before = run.state.claims.size;
    syncer.beat('validator', ...run.validators);
    if (learner.leases.size === 0) run.must('lease', leaseFor(syncer.state, learner, run.nowMs)!);
    attempt(() => run.commit(miner, 0));
    const claim = [...run.state.claims.values()][before];
    attempt(() => run.reveal(claim));
    syncer.blocks(2);
    while (claim?.status === 'revealed') attempt(() => run.verdict(claim, 2));
  }
}
