/** @file How many held-out sequences of another length are read, and what is told of each source. */
import { expect, it } from 'vitest';
import type { Evaluator } from './evaluator.ts';
import { evaluateHeldOut, type HeldOutSequence, type HeldOutStage, heldOutCount } from './held-out.ts';

it('reads as many tokens of longer sequences as the preset does, and as many sequences of shorter ones', () => {
  const preset = { sequences: 32, seqLen: 128 };
  expect([32, 64, 128, 256, 1024, 8192, 1 << 20].map((seqLen) => heldOutCount(preset, seqLen))).toEqual([
    32, 32, 32, 16, 4, 2, 2,
  ]);
  expect(heldOutCount({ sequences: 1, seqLen: 64 }, 4096)).toBe(1);
});

it('tells the loss of each source of a stage beside that of the stage, weighted by tokens', async () => {
  const rows = (...sources: string[]) => sources.map((source) => ({ source }) as HeldOutSequence);
  const stages = new Map<HeldOutStage, readonly HeldOutSequence[]>([
    ['held-out', rows('b', 'a', 'b', 'c')],
    ['held-out-other', rows('x', 'x')],
  ]);
  // The last one of the first stage has no label that counts.
  const evaluator = {
    sequenceLosses: async (_: unknown, { length }: { length: number }) => ({
      losses: Float64Array.from([4, 1, 2, 9].slice(0, length)),
      tokens: Float64Array.from([10, 20, 30, 0].slice(0, length)),
      loads: new Map(),
    }),
  } as unknown as Evaluator;
  const { losses } = await evaluateHeldOut(evaluator, new Map(), stages);
  expect(losses).toEqual({ 'held-out': 2, 'held-out/a': 1, 'held-out/b': 2.5, 'held-out-other': 2 });
});
