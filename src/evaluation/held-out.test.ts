/** @file How many held-out sequences of another length are read. */
import { expect, it } from 'vitest';
import { heldOutCount } from './held-out.ts';

it('reads as many tokens of longer sequences as the preset does, and as many sequences of shorter ones', () => {
  const preset = { sequences: 32, seqLen: 128 };
  expect([32, 64, 128, 256, 1024, 8192, 1 << 20].map((seqLen) => heldOutCount(preset, seqLen))).toEqual([
    32, 32, 32, 16, 4, 2, 2,
  ]);
  expect(heldOutCount({ sequences: 1, seqLen: 64 }, 4096)).toBe(1);
});
