/** @file Log-probabilities of a drawn token and of the likeliest ones, from raw logits: before temperature and penalties. */

export interface TokenLogprobs {
  /** Nats. */
  readonly chosen: number;
  /** Likeliest first; ties go to the lower id. */
  readonly top: readonly { readonly id: number; readonly logprob: number }[];
}

export function logprobsOf(logits: Float32Array, id: number, count: number): TokenLogprobs {
  let most = Number.NEGATIVE_INFINITY;
  for (const value of logits) if (value > most) most = value;
  let sum = 0;
  for (const value of logits) sum += Math.exp(value - most);
  const shift = most + Math.log(sum);
  const best: number[] = [];
  for (let i = 0; count > 0 && i < logits.length; i++) {
    if (best.length === count && logits[i]! <= logits[best.at(-1)!]!) continue;
    let at = best.length;
    while (at > 0 && logits[i]! > logits[best[at - 1]!]!) at--;
    best.splice(at, 0, i);
    if (best.length > count) best.pop();
  }
  return { chosen: logits[id]! - shift, top: best.map((each) => ({ id: each, logprob: logits[each]! - shift })) };
}
