/** @file Log-likelihoods of continuations by cached decoding: logits of a block of tokens are in memory at a time. */
import type { Decoder } from '../../model/quasar-long/decode-model.ts';
import { assert } from '../../util/errors.ts';
import type { ContinuationScore, TaskModel } from './score.ts';

/** Tokens of a continuation that are read in one go. */
const block = 64;

/**
 * A question longer than `maxTokens` loses its beginning, as in lm-evaluation-harness; of a continuation that alone is longer,
 * the end is scored.
 */
export function decoderModel(
  decoder: Decoder,
  tokenizer: TaskModel['tokenizer'],
  options: { readonly maxTokens: number; readonly signal?: AbortSignal },
): TaskModel {
  const { maxTokens, signal } = options;
  return {
    tokenizer,
    async score(context, continuations) {
      const scores: ContinuationScore[] = [];
      // Logits after the whole context, which all choices share: those of one token need no more.
      let first: { readonly dropped: number; readonly logits: Float32Array } | null = null;
      for (const continuation of continuations) {
        signal?.throwIfAborted();
        assert(continuation.length > 0, 'a continuation has at least one token');
        // The last token is scored and not read.
        const dropped = Math.max(0, context.length + continuation.length - 1 - maxTokens);
        const scored = Math.min(continuation.length, maxTokens);
        if (first === null || first.dropped !== dropped || continuation.length > 1) {
          const whole = [...context, ...continuation];
          decoder.reset();
          first = { dropped, logits: await decoder.feedLast(whole.slice(dropped, whole.length - scored)) };
        }
        const ids = continuation.slice(-scored);
        const sum = logProbability(first.logits, ids[0]!) + (await followingSum(decoder, ids));
        scores.push({ logLikelihood: sum, dropped });
      }
      return scores;
    },
  };
}

/** ln P of all tokens but the first, which follow the decoder's text. */
async function followingSum(decoder: Decoder, ids: readonly number[]): Promise<number> {
  const vocab = decoder.config.vocab_size;
  let sum = 0;
  for (let at = 0; at + 1 < ids.length; at += block) {
    const fed = ids.slice(at, Math.min(at + block, ids.length - 1));
    const logits = await decoder.feed(fed);
    for (let i = 0; i < fed.length; i++)
      sum += logProbability(logits.subarray(i * vocab, (i + 1) * vocab), ids[at + i + 1]!);
  }
  return sum;
}

/** In float64. */
export function logProbability(logits: Float32Array, id: number): number {
  const top = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  let total = 0;
  for (const logit of logits) total += Math.exp(logit - top);
  return logits[id]! - top - Math.log(total);
}
