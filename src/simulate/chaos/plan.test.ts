/** @file The plan of a chaos run: every kind, in order, the same for the same seed, restarts apart. */
import { describe, expect, it } from 'vitest';
import { faultKinds, planFaults } from './plan.ts';

const roles = ['syncer', 'miner-1', 'miner-2', 'miner-3', 'validator-1', 'validator-2', 'validator-3'];
const plan = (seed: number) => planFaults({ seed, count: 100, durationMs: 180_000, roles });

describe('planFaults', () => {
  it('gives the same faults for one seed and others for another', () => {
    expect(plan(7)).toEqual(plan(7));
    expect(plan(7)).not.toEqual(plan(8));
  });

  it('plans as many as asked for, in order and in time, with every kind', () => {
    for (let seed = 0; seed < 20; seed++) {
      const faults = plan(seed);
      expect(faults.length, `seed ${seed}`).toBe(100);
      expect(new Set(faults.map(({ kind }) => kind)), `seed ${seed}`).toEqual(new Set(faultKinds));
      for (const [i, { atMs, holdMs }] of faults.entries()) {
        expect(atMs, `seed ${seed}, fault ${i}`).toBeGreaterThanOrEqual(faults[i - 1]?.atMs ?? 0);
        expect(atMs).toBeLessThan(180_000);
        expect(holdMs).toBeLessThanOrEqual(8_000);
      }
    }
  });

  it("keeps restarts of one process apart and tears only the syncer's writes", () => {
    for (let seed = 0; seed < 20; seed++) {
      const last = new Map<string, number>();
      for (const { kind, role, atMs } of plan(seed)) {
        if (kind === 'torn-write') expect(role).toBe('syncer');
        if (!['kill', 'torn-write', 'clock-skew'].includes(kind)) continue;
        expect(atMs - (last.get(role) ?? -1e9), `seed ${seed}, ${role}`).toBeGreaterThanOrEqual(15_000);
        last.set(role, atMs);
      }
    }
  });
});
