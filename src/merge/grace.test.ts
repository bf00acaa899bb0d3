/** @file The grace window and its moving averages. */
import { expect, it } from 'vitest';
import { graceMs, observeTimes, unmeasured } from './grace.ts';

const options = { gamma: 0.5, overlapSteps: 10, minMs: 50, maxMs: 400, smoothing: 0.25 };

it('waits a part of the slack between the learners’ overlap and quorum plus merge, clamped', () => {
  expect(graceMs(unmeasured, options)).toBe(50);
  expect(graceMs({ stepMs: 100, quorumMs: 300, syncMs: 100 }, options)).toBe(300);
  expect(graceMs({ stepMs: 1000, quorumMs: 300, syncMs: 100 }, options)).toBe(400);
  expect(graceMs({ stepMs: 10, quorumMs: 300, syncMs: 100 }, options)).toBe(50);
});

it('averages what was measured and leaves out what cannot be', () => {
  const first = observeTimes(unmeasured, { stepMs: 100 }, options);
  expect(first).toEqual({ stepMs: 100, quorumMs: null, syncMs: null });
  expect(observeTimes(first, { stepMs: 200, syncMs: 7, quorumMs: Number.NaN }, options)).toEqual({
    stepMs: 125,
    quorumMs: null,
    syncMs: 7,
  });
});
