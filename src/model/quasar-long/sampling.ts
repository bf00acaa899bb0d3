/** @file Draws the next token from logits: temperature and top-k, from a seeded stream. */
import type { Rng } from '../../util/rng.ts';

export interface SamplingOptions {
  /** 0 takes the most likely token. */
  readonly temperature: number;
  /** Only the k most likely tokens are drawn; 0 leaves all. */
  readonly topK: number;
}

/** Ties go to the lower id. */
export function sampleToken(logits: Float32Array, { temperature, topK }: SamplingOptions, rng: Rng): number {
  const count = temperature === 0 ? 1 : topK === 0 ? logits.length : Math.min(topK, logits.length);
  const best = largest(logits, count);
  if (temperature === 0) return best[0]!;
  const top = logits[best[0]!]!;
  const weights = best.map((id) => Math.exp((logits[id]! - top) / temperature));
  let rest = rng.uniform() * weights.reduce((sum, weight) => sum + weight, 0);
  for (const [i, weight] of weights.entries()) {
    rest -= weight;
    if (rest < 0) return best[i]!;
  }
  return best.at(-1)!;
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
