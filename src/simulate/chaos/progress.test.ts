/** @file The measures of a chaos run: gaps between merges with and without enough processes, and recoveries. */
import { describe, expect, it } from 'vitest';
import type { Fault } from './plan.ts';
import { Progress } from './progress.ts';

const roles = ['syncer', 'miner-1', 'miner-2', 'validator-1'];
const fault = (kind: Fault['kind'], role: string, holdMs = 0): Fault => ({
  kind,
  role,
  holdMs,
  atMs: 0,
  skewMs: 0,
  tornAt: 0.5,
});
const merge = { kind: 'merge', role: 'syncer' };

describe('Progress', () => {
  it('counts a gap towards the bound only while enough processes are there', () => {
    const progress = new Progress(roles, { miners: 2, validators: 1, startAllowanceMs: 2_000 });
    progress.onEntry(merge, 0);
    progress.onLook(1_000);
    progress.onFault(fault('freeze', 'miner-1', 3_000), 1_000);
    for (let t = 1_100; t <= 6_000; t += 100) progress.onLook(t);
    expect(progress.longestGapMs).toBe(6_000);
    expect(progress.longestAbleMs).toBe(1_000 + 2_100); // from the look at the thaw on
    progress.onEntry(merge, 6_100);
    expect(progress.merges).toBe(2);
    progress.onLook(6_200);
    expect(progress.longestAbleMs).toBe(3_200);
  });

  it('has a killed process away until it is back', () => {
    const progress = new Progress(roles, { miners: 1, validators: 1, startAllowanceMs: 2_000 });
    progress.onEntry(merge, 0);
    progress.away('syncer', Number.POSITIVE_INFINITY);
    progress.onLook(5_000);
    expect(progress.longestAbleMs).toBe(0);
    progress.back('syncer', 5_000);
    progress.onLook(6_900);
    expect(progress.longestAbleMs).toBe(0); // it starts
    progress.onLook(7_000);
    progress.onLook(8_000);
    expect(progress.longestAbleMs).toBe(100 + 1_000);
    progress.away('syncer', Number.POSITIVE_INFINITY);
    progress.back('syncer', 8_000);
    progress.onEntry({ kind: 'lease', role: 'syncer' }, 8_100); // sooner than allowed
    progress.onLook(8_100);
    expect(progress.longestAbleMs).toBe(1_200);
  });

  it('measures recovery from the end of a fault to the next entry of the same process', () => {
    const progress = new Progress(roles, { miners: 1, validators: 1, startAllowanceMs: 2_000 });
    progress.onFault(fault('kill', 'miner-1'), 0);
    progress.onFault(fault('freeze', 'miner-2', 2_000), 0);
    progress.onEntry({ kind: 'claim-commit', role: 'miner-2' }, 1_000); // was under way
    progress.onEntry({ kind: 'claim-commit', role: 'miner-1' }, 4_000);
    expect(progress.unrecovered).toEqual(['miner-2']);
    progress.onEntry({ kind: 'claim-commit', role: 'miner-2' }, 2_500);
    expect(progress.unrecovered).toEqual([]);
    expect(progress.rows()).toEqual([
      { kind: 'freeze', count: 1, recovered: 1, medianMs: 500, worstMs: 500 },
      { kind: 'kill', count: 1, recovered: 1, medianMs: 4_000, worstMs: 4_000 },
    ]);
  });
});
