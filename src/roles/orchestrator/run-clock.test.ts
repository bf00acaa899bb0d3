/** @file The clock of a run does not go behind its journal. */
import { describe, expect, it } from 'vitest';
import { clockAfter } from './run-clock.ts';

describe('clockAfter', () => {
  it("goes on from the journal where the machine is behind it, and is the machine's clock otherwise", () => {
    let nowMs = 40_000;
    const machine = { nowMs: () => nowMs, sleep: async () => {} };
    const behind = clockAfter(machine, 100_000);
    const ahead = clockAfter(machine, 10_000);
    expect([behind.nowMs(), ahead.nowMs()]).toEqual([100_000, 40_000]);
    nowMs += 250;
    expect([behind.nowMs(), ahead.nowMs()]).toEqual([100_250, 40_250]);
  });
});
