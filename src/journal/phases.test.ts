/** @file Phases and amendments in the fold: when a phase may end, what an owner may change, and that the past stays. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DrivenRun, type Member } from '../../tests/support/run-driver.ts';
import { codeOf, owner, testHotkey, testManifest } from '../../tests/support/run-fixture.ts';
import type { AmendmentChanges } from '../protocol/amendment.ts';
import type { RunManifest } from '../protocol/manifest.ts';
import type { EventBody } from '../protocol/messages.ts';
import type { Decimal } from '../protocol/names.ts';
import { countRanges } from '../util/ranges.ts';
import { hashState } from './fold.ts';
import { duePhaseChange, gateStandings, isGateAwaited } from './phases.ts';
import { manifestOf } from './queries.ts';

const d = (text: string): Decimal => text as Decimal;
const [base, long] = testManifest().phases;

function open(changes: Partial<RunManifest> = {}): DrivenRun {
  const run = new DrivenRun({ phases: [{ ...base!, targetTokens: 16 }, long!], ...changes });
  for (const miner of run.miners) run.join(miner);
  for (const miner of run.miners) run.lease(miner);
  return run;
}

/** One outer step: every miner claims, all is accepted, merged and published. */
function round(run: DrivenRun): void {
  run.nowMs += 10_000;
  run.due();
  for (const miner of run.miners) {
    run.lease(miner);
    run.commit(miner, 0);
  }
  for (const claim of [...run.state.claims.values()].filter(({ status }) => status === 'committed')) {
    run.beacon(claim);
    run.reveal(claim);
    run.verdict(claim, 7);
    run.verdict(claim, 7);
  }
  run.merge();
  run.publish();
}

const change = (run: DrivenRun, body: Partial<EventBody<'phase-change'>> = {}): string => {
  const due = {
    phase: run.state.phase + 1,
    outerStep: run.state.nextOuterStep,
    cursor: run.state.cursor[run.state.phase]!,
  };
  return codeOf(run.send('phase-change', { ...due, ...body }));
};

const evaluate = (run: DrivenRun, { session }: Member, loss: string): string =>
  codeOf(
    run.send(
      'evaluation',
      { release: run.state.releases.length - 1, losses: { 'held-out': d(loss) }, sequences: 4 },
      session,
    ),
  );

function amend(
  run: DrivenRun,
  changes: AmendmentChanges,
  body: Partial<EventBody<'amendment'>> = {},
  signer = owner,
): string {
  const amendment = run.state.amendments.length;
  return codeOf(
    run.send(
      'amendment',
      { amendment, atOuterStep: run.state.nextOuterStep, changes, reason: 'test', ...body },
      signer,
    ),
  );
}

describe('a phase', () => {
  it('ends by one event, once its tokens are merged, at the next outer step and where its order stands', () => {
    const run = open();
    expect(change(run)).toBe('PHASE_OPEN');
    for (let i = 0; i < 3; i++) round(run);
    const due = duePhaseChange(run.state)!;
    expect(due).toEqual({ phase: 1, outerStep: run.state.nextOuterStep, cursor: run.state.cursor[0] });
    expect(change(run, { outerStep: due.outerStep + 1 })).toBe('WRONG_STEP');
    expect(change(run, { cursor: due.cursor - 1 })).toBe('WRONG_CURSOR');
    expect(change(run, { phase: 2 })).toBe('WRONG_PHASE');
    expect(change(run)).toBe('OK');
    expect(run.state.phases.map(({ outerStep }) => outerStep)).toEqual([0, due.outerStep]);
    expect(change(run)).toBe('WRONG_PHASE');
  });

  it('leaves open claims of the old phase to be merged, and leases only the new one', () => {
    const run = open();
    for (let i = 0; i < 2; i++) round(run);
    run.nowMs += 10_000;
    run.due();
    const [a] = run.miners as [Member];
    run.lease(a);
    expect(codeOf(run.commit(a, 0)!)).toBe('OK');
    while (duePhaseChange(run.state) === null) round(run);
    expect(change(run)).toBe('OK');
    const cursor = [...run.state.cursor];
    run.lease(run.miners[2]!);
    expect(run.state.cursor[0]).toBe(cursor[0]);
    expect([...run.state.leases.values()].at(-1)!.phase).toBe(1);
  });

  it('of a learner that claims for the next phase, leases of the last one are given back: it can lease on', () => {
    const run = open();
    while (duePhaseChange(run.state) === null) round(run);
    const [a] = run.miners as [Member];
    const held = () => [...run.state.learners.get(a.id)!.leases].map((id) => run.state.leases.get(id)!.phase);
    run.lease(a);
    expect(held()).toContain(0);
    expect(change(run)).toBe('OK');
    run.lease(a);
    run.nowMs += 10_000;
    run.due();
    expect(codeOf(run.commit(a, 0)!)).toBe('OK');
    expect(held()).not.toContain(0);
    const [from, to] = [0, run.state.cursor[0]!];
    expect(countRanges(run.state.pool[0]!)).toBeLessThanOrEqual(to - from);
  });

  it('with gates ends only when a quorum of validators finds them met on a release of the phase', () => {
    const gates = [{ metric: 'held-out', atMost: d('4.5') }];
    const run = open({ phases: [{ ...base!, targetTokens: 16, gates }, long!] });
    while (run.milestone(3).outcome !== 'accept' || run.state.phaseCellTokens[0]! < 48) round(run);
    expect(change(run)).toBe('GATE_CLOSED');
    expect(isGateAwaited(run.state)).toBe(true);
    const [v0, v1, v2] = run.validators as [Member, Member, Member];
    expect(evaluate(run, v0, '4.4')).toBe('OK');
    expect(change(run)).toBe('GATE_CLOSED');
    expect(evaluate(run, v1, '4.6')).toBe('OK');
    expect(gateStandings(run.state)[0]).toMatchObject({ isHeld: false, met: [v0.hotkey.hotkey] });
    expect(change(run)).toBe('GATE_CLOSED');
    expect(evaluate(run, v2, '4.5')).toBe('OK');
    expect(gateStandings(run.state)[0]).toMatchObject({ isHeld: true, release: run.state.releases.length - 1 });
    expect(isGateAwaited(run.state)).toBe(false);
    expect(change(run)).toBe('OK');
  });

  it('has a release cadence of its own', () => {
    const run = open({ phases: [{ ...base!, release: { everyMerges: 2 } }, long!] });
    run.milestone(3);
    for (let i = 0; i < 3; i++) round(run);
    expect(codeOf(run.milestone(3))).toBe('NOT_READY');
    for (let i = 0; i < 3; i++) round(run);
    expect(codeOf(run.milestone(3))).toBe('OK');
  });
});

describe('an amendment', () => {
  it('is of the owner, in order, and of an outer step that is not open yet', () => {
    const run = open();
    round(run);
    const changes = { sync: { quorum: 3 } };
    expect(amend(run, changes, {}, testHotkey('m0'))).toBe('NOT_OWNER');
    expect(amend(run, changes, { amendment: 1 })).toBe('WRONG_AMENDMENT');
    expect(amend(run, changes, { atOuterStep: run.state.nextOuterStep - 1 })).toBe('PAST');
    expect(amend(run, changes, { atOuterStep: run.state.nextOuterStep + 1_000_000 })).toBe('TOO_MANY');
    expect(amend(run, {})).toBe('MALFORMED');
    expect(amend(run, changes)).toBe('OK');
  });

  it('holds from its outer step on, and not before', () => {
    const run = open();
    expect(amend(run, { sync: { quorum: 3 }, release: { everyMerges: 5 } }, { atOuterStep: 2 })).toBe('OK');
    expect(amend(run, { sync: { quorum: 4 } }, { atOuterStep: 1 })).toBe('WRONG_STEP');
    for (const quorum of [2, 2, 3]) {
      round(run);
      expect(manifestOf(run.state).sync.quorum).toBe(quorum);
    }
    expect(manifestOf(run.state)).toEqual({
      ...run.manifest,
      sync: { ...run.manifest.sync, quorum: 3 },
      release: { ...run.manifest.release, everyMerges: 5 },
    });
    expect(run.state.run!.manifest).toEqual(run.manifest);
    expect(run.state.amendments[0]!.inForceSince).toBe(2);
  });

  it('changes phases that have not begun, adds some, and none that has', () => {
    const run = open();
    const phases = (from: number, ...list: RunManifest['phases']) => ({ phases: { from, list } });
    expect(amend(run, phases(3, long!))).toBe('MALFORMED');
    expect(amend(run, phases(1, { ...long!, sequenceLength: 16 }))).toBe('MALFORMED');
    expect(amend(run, phases(1, { ...long!, mixture: { unknown: 1 } }))).toBe('MALFORMED');
    expect(amend(run, phases(1, { ...long!, targetTokens: 64 }, { ...base!, name: 'third' }))).toBe('OK');
    round(run);
    expect(manifestOf(run.state).phases.map(({ name }) => name)).toEqual(['base', 'long', 'third']);
    expect(run.state.cursor).toHaveLength(3);
    while (duePhaseChange(run.state) === null) round(run);
    expect(change(run)).toBe('OK');
    expect(amend(run, phases(1, long!))).toBe('PAST');
    expect(amend(run, phases(2, long!))).toBe('OK');
  });

  it('holds up a phase that it will change', () => {
    const run = open();
    const phases = { from: 1, list: [{ ...long!, targetTokens: 64 }] };
    while (run.state.phaseCellTokens[0]! < 48) round(run);
    expect(amend(run, { phases }, { atOuterStep: run.state.nextOuterStep + 1 })).toBe('OK');
    expect(change(run)).toBe('AMENDMENT_WAITS');
    round(run);
    round(run);
    expect(change(run)).toBe('OK');
    expect(manifestOf(run.state).phases[1]!.targetTokens).toBe(64);
  });

  it('lifts a gate, or moves the target of the phase that goes on', () => {
    const run = open({
      phases: [{ ...base!, targetTokens: 16, gates: [{ metric: 'held-out', atMost: d('1') }] }, long!],
    });
    while (run.state.phaseCellTokens[0]! < 48) round(run);
    expect(change(run)).toBe('GATE_CLOSED');
    expect(amend(run, { current: { gates: [], targetTokens: 1_000_000 } })).toBe('OK');
    round(run);
    expect(change(run)).toBe('PHASE_OPEN');
    expect(manifestOf(run.state).phases[0]).not.toHaveProperty('gates');
    expect(amend(run, { current: { targetTokens: 16 } })).toBe('OK');
    round(run);
    expect(change(run)).toBe('OK');
  });
});

describe('property: whatever is sent', () => {
  const command = fc.tuple(fc.nat(60), fc.nat(1_000), fc.nat(1_000));
  it('phases go on one by one, their cursors stand still behind them, and the manifest changes only where an outer step opens', () => {
    fc.assert(
      fc.property(fc.array(command, { minLength: 100, maxLength: 300 }), (commands) => {
        const run = open();
        let frozen: number[] = [];
        const broken: string[] = [];
        for (const [op, a, b] of commands) {
          const before = { phase: run.state.phase, next: run.state.nextOuterStep, manifest: manifestOf(run.state) };
          if (op > 50) round(run);
          else if (op > 45) change(run, b % 3 === 0 ? { outerStep: b } : {});
          else if (op > 40)
            amend(
              run,
              b % 2 === 0
                ? { sync: { quorum: 1 + (a % 5) } }
                : { phases: { from: 1 + (a % 3), list: [{ ...long!, targetTokens: 8 + a }] } },
              { atOuterStep: run.state.nextOuterStep + (b % 7) - 2 },
            );
          else run.do({ op, a, b });
          const { state } = run;
          // In plain code: hundreds of thousands of expectations would take most of the time.
          const demand = (holds: boolean, what: string): void =>
            void (holds || broken.push(`${what} at ${state.size}`));
          const manifest = manifestOf(state);
          demand([0, 1].includes(state.phase - before.phase), 'one phase after another');
          demand(state.phases.length === state.phase + 1, 'each phase begins once');
          demand(
            frozen.every((cursor, phase) => state.cursor[phase] === cursor),
            'cursors of the past stand still',
          );
          frozen = state.cursor.slice(0, state.phase);
          demand(manifest === before.manifest || state.nextOuterStep !== before.next, 'no change but at an outer step');
          const past = (phases: RunManifest['phases']): string => JSON.stringify(phases.slice(0, before.phase + 1));
          demand(
            manifest === before.manifest || past(manifest.phases) === past(before.manifest.phases),
            'phases that began stay',
          );
          for (const { body, inForceSince, seq } of state.amendments)
            demand(
              seq < state.size && (inForceSince === null || inForceSince >= body.atOuterStep),
              'amendments in their order',
            );
        }
        expect(broken).toEqual([]);
        // The same journal folds to the same state.
        const again = new DrivenRun({ phases: [{ ...base!, targetTokens: 16 }, long!] });
        for (const entry of run.entries.slice(again.entries.length)) again.offer(entry);
        expect(hashState(again.state)).toBe(hashState(run.state));
      }),
      { numRuns: 25 },
    );
  });
});
