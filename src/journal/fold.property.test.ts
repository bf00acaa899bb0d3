/** @file Invariants of the fold under random events, honest and not; and that a journal folds to one state. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Command, DrivenRun } from '../../tests/support/run-driver.ts';
import { testManifest } from '../../tests/support/run-fixture.ts';
import type { Decimal } from '../protocol/names.ts';
import { countRanges, intersectRanges, type Range, subtractRanges, unionRanges } from '../util/ranges.ts';
import { admit, applyEvent, hashState } from './fold.ts';
import { emptyState, type RunState } from './state.ts';

const commands: fc.Arbitrary<Command[]> = fc.array(fc.record({ op: fc.nat(39), a: fc.nat(7), b: fc.nat(31) }), {
  minLength: 200,
  maxLength: 500,
  size: 'max',
});

/** The pool, what open leases still hold and what was covered are disjoint, and make up all that was ever leased. */
function checkOrder(state: RunState): void {
  for (const [phase, pool] of state.pool.entries()) {
    const leases = [...state.leases.values()].filter((lease) => lease.phase === phase);
    const held = leases.filter((lease) => lease.status === 'open').flatMap((l) => subtractRanges([l.range], l.covered));
    const covered = leases.flatMap((lease) => lease.covered);
    const parts = [...pool, ...held, ...covered];
    const all = unionRanges(parts, []);
    expect(countRanges(all)).toBe(countRanges(parts));
    expect(countRanges(all)).toBe(state.cursor[phase]);
  }
}

/** No cell is in two claims; what is counted is what was merged. */
function checkCells(state: RunState): void {
  const { manifest } = state.run!;
  let merged = 0;
  const byPhase = manifest.phases.map(() => 0);
  const seen = new Map<string, readonly Range[]>();
  for (const { body, status, cellTokens } of state.claims.values()) {
    const key = `${body.phase}/${body.fragment}`;
    const before = seen.get(key) ?? [];
    expect(intersectRanges(before, body.sequences)).toEqual([]);
    seen.set(key, unionRanges(before, body.sequences));
    const cells = countRanges(body.sequences) * manifest.phases[body.phase]!.sequenceLength;
    expect(cellTokens).toBe(cells);
    if (status !== 'merged') continue;
    merged += cells;
    byPhase[body.phase]! += cells;
  }
  expect(state.cellTokens).toBe(merged);
  expect(state.phaseCellTokens).toEqual(byPhase);
  expect([...state.learners.values()].reduce((sum, learner) => sum + learner.cellTokens, 0)).toBe(merged);
}

function checkClaims(state: RunState): void {
  for (const claim of state.claims.values()) {
    const isOver = ['merged', 'refused', 'voided'].includes(claim.status);
    expect(state.openClaims.has(claim.id)).toBe(!isOver);
    expect(claim.status === 'accepted' ? claim.code : 'OK').toBe('OK');
  }
  const merges = state.fragments.reduce((sum, fragment) => sum + fragment.version, 0);
  expect(merges).toBe(state.eventCounts.get('fragment-published') ?? 0);
  for (const fragment of state.fragments) {
    const merging = [...state.claims.values()].filter(
      (claim) => claim.status === 'merging' && state.fragments[claim.body.fragment] === fragment,
    );
    expect(merging.map(({ id }) => id).sort()).toEqual(
      (fragment.pendingMerge?.claims ?? []).map(({ claim }) => claim).sort(),
    );
  }
}

/** What a hotkey may still be paid for is what its learners may be; no claim is paid twice or more than it counts. */
function checkPay(state: RunState): void {
  for (const standing of state.hotkeys.values()) {
    const learners = [...state.learners.values()].filter(({ hotkey }) => hotkey === standing.hotkey);
    const unpaid = learners.reduce((sum, { unpaidCellTokens }) => sum + unpaidCellTokens, 0);
    expect(standing.tempoCellTokens + standing.heldCellTokens).toBe(unpaid);
    expect(Math.min(standing.tempoCellTokens, standing.heldCellTokens)).toBeGreaterThanOrEqual(0);
    const merged = learners.reduce((sum, { cellTokens }) => sum + cellTokens, 0);
    const scored = state.tempo.history
      .flatMap(({ work }) => work)
      .filter(({ hotkey }) => hotkey === standing.hotkey)
      .reduce((sum, { cellTokens }) => sum + cellTokens, 0);
    expect(scored + unpaid).toBeLessThanOrEqual(merged);
    const open = [...state.openAudits].filter((id) => state.audits.get(id)!.body.hotkey === standing.hotkey);
    expect(standing.openAudits).toBe(open.length);
    expect(standing.tempoAuditsDrawn).toBeGreaterThanOrEqual(0);
    if (standing.barred !== null) expect([standing.verdictScore, standing.tempoVerdicts]).toEqual([0, 0]);
  }
  for (const learner of state.learners.values()) {
    for (const id of learner.waiting) {
      const claim = state.claims.get(id)!;
      expect(claim.status).toBe('merged');
      expect(claim.body.steps[1]).toBeGreaterThan(learner.segmentFrom);
    }
    expect(learner.auditable.length).toBeLessThanOrEqual(state.run!.manifest.audit.window);
    for (const [i, { steps }] of learner.auditable.entries()) {
      expect(steps[0]).toBeLessThan(steps[1]);
      expect(steps[1] % state.run!.manifest.sync.stateRootEverySteps).toBe(0);
      if (i > 0) expect(learner.auditable[i - 1]!.steps[1]).toBeLessThanOrEqual(steps[0]);
    }
  }
}

/** Settled is settled: nobody barred is drawn anew, disputes end once. */
function checkDisputes(state: RunState): void {
  for (const [id, claim] of state.claims) {
    expect(state.openDisputes.has(id)).toBe(claim.dispute !== null && claim.dispute.closedAtMs === null);
    if (state.openRechecks.has(id)) expect(['accepted', 'merging', 'merged']).toContain(claim.status);
  }
}

const manifestChanges = (seed: TestManifest) => ({
  sync: { ...seed.sync, stateRootEverySteps: 4 },
  evaluation: { ...seed.evaluation, recheckShare: '0.5' as Decimal },
  audit: { ...seed.audit, perTempo: 2, window: 3 },
});
type TestManifest = ReturnType<typeof testManifest>;

describe('the fold', () => {
  it('counts nothing twice, loses no sequence, and is not changed by what it refuses', () => {
    let merges = 0;
    const refusals = new Set<string>();
    const seen = new Map<string, number>();
    fc.assert(
      fc.property(commands, (list) => {
        const run = new DrivenRun(manifestChanges(testManifest()));
        for (const miner of run.miners) run.join(miner);
        for (const command of list) {
          const before = command.op === 24 || command.b >= 26 ? hashState(run.state) : null;
          const admission = run.do(command);
          if (admission !== null && admission.outcome !== 'accept') {
            refusals.add(admission.code);
            if (before !== null) expect(hashState(run.state)).toBe(before);
          }
        }
        checkOrder(run.state);
        checkCells(run.state);
        checkClaims(run.state);
        checkPay(run.state);
        checkDisputes(run.state);
        for (const [kind, count] of run.state.eventCounts) seen.set(kind, (seen.get(kind) ?? 0) + count);
        for (const { status } of run.state.audits.values()) seen.set(status, (seen.get(status) ?? 0) + 1);
        if ([...run.state.hotkeys.values()].some(({ barred }) => barred !== null)) seen.set('barred', 1);
        merges += run.state.eventCounts.get('merge') ?? 0;
        const again = emptyState();
        for (const opened of run.entries) {
          expect(admit(again, opened).outcome).toBe('accept');
          applyEvent(again, structuredClone(opened));
        }
        expect(hashState(again)).toBe(hashState(run.state));
      }),
      { seed: 7, numRuns: 20 },
    );
    // The commands must reach the rules that they are about.
    expect(merges).toBeGreaterThan(12);
    for (const code of ['DUPLICATE', 'WRONG_FRAGMENT', 'WRONG_VERSION', 'DOUBLE_COUNT', 'NOT_LEASED', 'WRONG_TRACE'])
      expect(refusals, code).toContain(code);
    const reached = ['appeal', 'dispute-close', 'serve', 'audit-challenge', 'audit-answer', 'release-published'];
    for (const what of [...reached, 'passed', 'failed', 'barred']) expect(seen.get(what) ?? 0, what).toBeGreaterThan(0);
  }, 180_000);
});
