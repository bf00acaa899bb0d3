/** @file Both ways to a log-likelihood, decoding and rows of the loss graph, beside the whole forward pass. */
import { afterAll, expect, it } from 'vitest';
import { openDecoder } from '../../model/quasar-long/generate.ts';
import { initParams } from '../../model/quasar-long/init.ts';
import { presetConfig } from '../../model/quasar-long/presets.ts';
import { Rng } from '../../util/rng.ts';
import { batchModel } from './batch-model.ts';
import { decoderModel, logProbability } from './decoder-model.ts';

const config = presetConfig('tiny', { initializer_range: 0.15 });
const params = initParams(config, 'models');
const tokenizer = { startOfText: null, endOfText: 0, encodePlain: (): number[] => [] };
const decoder = await openDecoder(config, params);
const whole = await openDecoder(config, params);
const open = (maxTokens: number) => {
  const decoding = decoderModel(decoder, tokenizer, { maxTokens });
  return { decoding, rows: batchModel(config, params, decoding, { threads: 1, maxTokens }) };
};
const rng = new Rng('ids');
const ids = (length: number): number[] => Array.from({ length }, () => 1 + rng.below(config.vocab_size - 1));

afterAll(async () => {
  await decoder.release();
  await whole.release();
});

/** From one pass over the last `maxTokens` tokens that are read. */
async function expectedOf(context: readonly number[], continuation: readonly number[], maxTokens: number) {
  const all = [...context, ...continuation];
  const from = Math.max(0, all.length - 1 - maxTokens);
  const kept = all.slice(from);
  whole.reset();
  const logits = await whole.feed(kept.slice(0, -1));
  const { vocab_size: vocab } = config;
  let sum = 0;
  for (let i = Math.max(1, kept.length - continuation.length); i < kept.length; i++)
    sum += logProbability(logits.subarray((i - 1) * vocab, i * vocab), kept[i]!);
  return sum;
}

it.each([
  ['short', 20, [1, 5, 9], 4_096],
  ['more choices than rows of a pass', 7, [3, 2, 4, 1, 6, 2], 4_096],
  ['single tokens', 30, [1, 1, 1, 1], 4_096],
  ['longer than a block of decoding', 60, [70, 130], 4_096],
  ['cut to the context', 50, [4, 8], 24],
  ['a continuation longer than the context', 10, [40], 24],
] as const)('%s', async (_, contextLength, continuationLengths, maxTokens) => {
  const context = ids(contextLength);
  const continuations = continuationLengths.map(ids);
  const { decoding, rows } = open(maxTokens);
  try {
    const [decoded, inRows] = [await decoding.score(context, continuations), await rows.score(context, continuations)];
    for (const [i, continuation] of continuations.entries()) {
      const expected = await expectedOf(context, continuation, maxTokens);
      const where = `choice ${i} of ${continuation.length} tokens`;
      expect(Math.abs(decoded[i]!.logLikelihood / expected - 1), where).toBeLessThan(1e-5);
      expect(Math.abs(inRows[i]!.logLikelihood / expected - 1), where).toBeLessThan(1e-5);
      const dropped = Math.max(0, contextLength + continuation.length - 1 - maxTokens);
      expect([decoded[i]!.dropped, inRows[i]!.dropped]).toEqual([dropped, dropped]);
    }
  } finally {
    await rows.close();
  }
});
