/** @file Invariants of the fold under random events, honest and not; and that a journal folds to one state. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Command, DrivenRun } from '../../tests/support/run-driver.ts';
import { countRanges, intersectRanges, type Range, subtractRanges, unionRanges } from '../util/ranges.ts';
import { admit, applyEvent, hashState } from './fold.ts';
import { emptyState, type RunState } from './state.ts';

const commands: fc.Arbitrary<Command[]> = fc.array(fc.record({ op: fc.nat(24), a: fc.nat(7), b: fc.nat(31) }), {
  minLength: 150,
  maxLength: 400,
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

describe('the fold', () => {
  it('counts nothing twice, loses no sequence, and is not changed by what it refuses', () => {
    let merges = 0;
    const refusals = new Set<string>();
    fc.assert(
      fc.property(commands, (list) => {
        const run = new DrivenRun();
        for (const miner of run.miners) run.join(miner);
        for (const command of list) {
          const before = command.op === 24 || command.b >= 20 ? hashState(run.state) : null;
          const admission = run.do(command);
          if (admission !== null && admission.outcome !== 'accept') {
            refusals.add(admission.code);
            if (before !== null) expect(hashState(run.state)).toBe(before);
          }
        }
        checkOrder(run.state);
        checkCells(run.state);
        checkClaims(run.state);
        merges += run.state.eventCounts.get('merge') ?? 0;
        const again = emptyState();
        for (const opened of run.entries) {
          expect(admit(again, opened).outcome).toBe('accept');
          applyEvent(again, structuredClone(opened));
        }
        expect(hashState(again)).toBe(hashState(run.state));
      }),
      { seed: 7, numRuns: 25 },
    );
    // The commands must reach the rules that they are about.
    expect(merges).toBeGreaterThan(20);
    for (const code of ['DUPLICATE', 'WRONG_FRAGMENT', 'WRONG_VERSION', 'DOUBLE_COUNT', 'NOT_LEASED', 'WRONG_TRACE'])
      expect(refusals, code).toContain(code);
  });
});
