/** @file The continuation task: right where the own second half is strictly the likeliest; only second halves are scored. */
import { expect, it } from 'vitest';
import { IGNORED, packSequence, type Sequence } from '../data/shards.ts';
import { continuationAccuracy } from './continuation.ts';
import type { Evaluator } from './evaluator.ts';

const endOfText = 0;
const rows = [1, 2, 3, 4, 5].map((id) => packSequence([id, id, id, id, 10 + id, 10 + id, 10 + id, 10 + id], endOfText));

/** An oracle whose loss of each question is what `lossOf` says. */
function oracle(lossOf: (context: number, end: number) => number): Evaluator {
  return {
    options: { batch: 4, seqLen: 8, threads: 1 },
    async sequenceLosses(_, sequences: readonly Sequence[]) {
      for (const { labels } of sequences)
        expect([...labels].map((label) => label === IGNORED)).toEqual([
          true,
          true,
          true,
          true,
          false,
          false,
          false,
          false,
        ]);
      const losses = sequences.map(({ inputIds }) => lossOf(Number(inputIds[0]), Number(inputIds[7]) - 10));
      return {
        losses: Float64Array.from(losses),
        tokens: new Float64Array(sequences.length).fill(4),
        loads: new Map(),
      };
    },
    close: async () => {},
  };
}
const accuracy = (lossOf: (context: number, end: number) => number, of = rows) =>
  continuationAccuracy(oracle(lossOf), new Map(), { rows: of, endOfText });

it('tells a model that knows from one that does not, and from one that says nothing', async () => {
  expect(await accuracy((context, end) => (context === end ? 1 : 2))).toBe(1);
  expect(await accuracy((context, end) => (context === end ? 2 : 1))).toBe(0);
  expect(await accuracy(() => 1)).toBe(0);
  expect(await accuracy((context, end) => (context === end && context < 3 ? 1 : 2))).toBe(2 / 5);
  expect(await accuracy(() => 1, rows.slice(0, 3))).toBeNull();
});
