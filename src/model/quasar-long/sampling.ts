/** @file Draws the next token from logits: repetition penalty, temperature, top-k and top-p, from a seeded stream. */
import type { Rng } from '../../util/rng.ts';

export interface SamplingOptions {
  /** 0 takes the most likely token. */
  readonly temperature: number;
  /** Only the k most likely tokens are drawn; 0 leaves all. */
  readonly topK: number;
  /** Of these, only the fewest whose probabilities reach this sum; 1 leaves all. */
  readonly topP?: number;
  /**
   * Divides the positive logits of tokens that came before, and multiplies the negative ones (CTRL, arXiv:1909.05858,
   * section 4.1); 1 does nothing.
   */
  readonly repetitionPenalty?: number;
}

/** `before`: tokens of the prompt and those drawn so far. Ties go to the lower id. */
export function sampleToken(
  given: Float32Array,
  { temperature, topK, topP = 1, repetitionPenalty = 1 }: SamplingOptions,
  rng: Rng,
  before: Iterable<number> = [],
): number {
  const logits = repetitionPenalty === 1 ? given : penalised(given, before, repetitionPenalty);
  const count = temperature === 0 ? 1 : topK === 0 ? logits.length : Math.min(topK, logits.length);
  const best = largest(logits, count);
  if (temperature === 0) return best[0]!;
  const top = logits[best[0]!]!;
  const weights = best.map((id) => Math.exp((logits[id]! - top) / temperature));
  const kept = weights.slice(0, nucleusSize(weights, topP));
  let rest = rng.uniform() * kept.reduce((sum, weight) => sum + weight, 0);
  for (const [i, weight] of kept.entries()) {
    rest -= weight;
    if (rest < 0) return best[i]!;
  }
  return best[kept.length - 1]!;
}

function penalised(logits: Float32Array, before: Iterable<number>, penalty: number): Float32Array {
  const out = Float32Array.from(logits);
  for (const id of new Set(before)) out[id] = out[id]! > 0 ? out[id]! / penalty : out[id]! * penalty;
  return out;
}

/** How many of the descending weights it takes to reach the share; at least one (arXiv:1904.09751). */
function nucleusSize(weights: readonly number[], share: number): number {
  if (share >= 1) return weights.length;
  const wanted = share * weights.reduce((sum, weight) => sum + weight, 0);
  let sum = 0;
  const last = weights.findIndex((weight) => (sum += weight) >= wanted);
  return last < 0 ? weights.length : last + 1;
}

/** Indices of the `count` largest values, largest first. */
function largest(values: Float32Array, count: number): number[] {
  const order = (a: number, b: number) => values[b]! - values[a]! || a - b;
  if (count * 4 >= values.length) return Array.from(values.keys()).sort(order).slice(0, count);
  const kept: number[] = [];
  for (let i = 0; i < values.length; i++) {
    if (kept.length === count && !(values[i]! > values[kept.at(-1)!]!)) continue;
    let at = kept.length;
    while (at > 0 && values[i]! > values[kept[at - 1]!]!) at--;
    kept.splice(at, 0, i);
    if (kept.length > count) kept.pop();
  }
  return kept;
}
