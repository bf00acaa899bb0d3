/**
 * @file A task for models of any size, from held-out text and its tokens alone: after the first half of a sequence, is its own second half
 * likelier than those of three other sequences? Guessing gets a quarter. The same text gives the same questions.
 */
import { IGNORED, packSequence, type Sequence } from '../data/shards.ts';
import type { Params } from '../model/quasar-long/init.ts';
import type { Evaluator } from './evaluator.ts';

/** As evaluations and gates name it. */
export const continuationTask = 'task/continuation';
const choices = 4;

/** Share of the sequences whose own continuation is the likeliest a token; of equals the first, its own, does not count. Null: too few. */
export async function continuationAccuracy(
  evaluator: Evaluator,
  params: Params,
  { rows, endOfText }: { readonly rows: readonly Sequence[]; readonly endOfText: number },
): Promise<number | null> {
  if (rows.length < choices) return null;
  let right = 0;
  for (const [i, row] of rows.entries()) {
    const ends = Array.from({ length: choices }, (_, k) => rows[(i + k) % rows.length]!);
    const asked = ends.map((end) => joined(row, end, endOfText));
    const { losses } = await evaluator.sequenceLosses(params, asked);
    const [own, ...others] = losses;
    if (others.every((other) => own! < other)) right++;
  }
  return right / rows.length;
}

/** The first half of one and the second half of another; only the latter is scored. */
function joined(first: Sequence, second: Sequence, endOfText: number): Sequence {
  const half = first.inputIds.length >> 1;
  const ids = [...first.inputIds.subarray(0, half), ...second.inputIds.subarray(half)].map(Number);
  const sequence = packSequence(ids, endOfText);
  sequence.labels.fill(IGNORED, 0, half);
  return sequence;
}
