/** @file Cached decoding equals the full forward pass; sampling follows its options. */
import { describe, expect, it } from 'vitest';
import { openSession } from '../../engine/session.ts';
import { Rng } from '../../util/rng.ts';
import type { QuasarLongConfig } from './config.ts';
import { feedParams, feedTokens } from './feeds.ts';
import { generate, openDecoder } from './generate.ts';
import { buildLogitsGraph } from './graphs.ts';
import { floatsOf, initParams, type Params } from './init.ts';
import { presetConfig } from './presets.ts';
import { sampleToken } from './sampling.ts';
import { areScoresSmall } from './score-bound.ts';

// The rotation stops at position 40, so that both sides of the rule are decoded.
const config = presetConfig('tiny', { nope_after_position: 40 });

/** Initial values, scaled up until tokens and branches matter to the logits. */
function livelyParams(seed: number, of = config) {
  const params = initParams(of, seed);
  for (const name of params.keys())
    if (/weight$|experts/.test(name) && !name.includes('norm'))
      floatsOf(params, name).forEach((value, i, all) => void (all[i] = value * 3));
  return params;
}

/** Of the whole row at once; with positions, of packed documents. */
async function fullLogits(of: QuasarLongConfig, params: Params, ids: readonly number[], positions?: readonly number[]) {
  const options = { batch: 1, seqLen: ids.length, packed: positions !== undefined };
  const session = await openSession(buildLogitsGraph(of, options));
  const shape = [1, ids.length] as const;
  const tokens = { input_ids: feedTokens(ids, shape), position_ids: feedTokens(positions ?? ids, shape) };
  const { logits } = await session.run({ ...feedParams(of, params), ...tokens });
  await session.release();
  return logits!.data as Float32Array;
}

function differenceOf(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  return Array.from(a).reduce((max, value, i) => Math.max(max, Math.abs(value - b[i]!)), 0);
}

const documentConfigs: [string, Record<string, unknown>][] = [
  ['layerwise', {}],
  ['mixed, two loops', { hybrid_branch_layout: 'mixed', num_loops: 2, use_looped_injection: true }],
  [
    'engram, convolution, local window, decaying quasar branch, loops',
    {
      num_loops: 2,
      engram_layers: [0, 2],
      engram_dim: 24,
      engram_slots: 300,
      engram_num_heads: 2,
      hybrid_use_short_conv: true,
      hybrid_quasar_mode: 'fused_recurrent',
      hybrid_local_window_size: 7,
      hybrid_local_window_layers: [1, 2, 3],
      hybrid_local_window_max_fraction: 1,
    },
  ],
];

describe('cached decoding', () => {
  it('gives the logits of the full forward pass', async () => {
    const params = livelyParams(5);
    const rng = new Rng(1);
    const ids = Array.from({ length: 77 }, () => rng.below(config.vocab_size));
    const full = await openSession(buildLogitsGraph(config, { batch: 1, seqLen: 77, packed: false }));
    const tokens = feedTokens(ids, [1, 77]);
    const { logits } = await full.run({ ...feedParams(config, params), input_ids: tokens, position_ids: tokens });
    await full.release();
    const reference = logits!.data as Float32Array;
    const spread = Math.max(...reference) - Math.min(...reference);
    expect(spread).toBeGreaterThan(1);

    const decoder = await openDecoder(config, params);
    try {
      // A block of 32, single tokens, a block after them, single tokens again.
      const parts = [await decoder.feed(ids.slice(0, 35)), await decoder.feed(ids.slice(35))];
      const cached = Float32Array.from(parts.flatMap((part) => [...part]));
      const worst = cached.reduce((max, value, i) => Math.max(max, Math.abs(value - reference[i]!)), 0);
      expect(worst).toBeLessThan(1e-4);
      decoder.reset();
      const again = await decoder.feed(ids.slice(0, 3));
      expect([...again.subarray(0, 9)].map((v) => v.toFixed(3))).toEqual(
        [...reference.subarray(0, 9)].map((v) => v.toFixed(3)),
      );
    } finally {
      await decoder.release();
    }
  });

  const scales: [string, number][] = [
    ['small scores, without a running maximum', 1],
    ['scores that e^x cannot hold', 8],
  ];
  it.each(scales)('reads a long past in segments, across blocks and the end of rotation: %s', async (_name, scale) => {
    const params = livelyParams(6);
    for (const name of params.keys()) if (/(query|key)_layernorm/.test(name)) floatsOf(params, name).fill(scale);
    expect(areScoresSmall(config, params)).toBe(scale === 1);
    const rng = new Rng(2);
    const ids = Array.from({ length: 330 }, () => rng.below(config.vocab_size));
    const decoders = [await openDecoder(config, params), await openDecoder(config, params, { pairsAtOnce: 600 })];
    try {
      const [whole, cut] = await Promise.all(
        decoders.map(async (decoder) => [...(await decoder.feed(ids)), ...(await decoder.feedLast([3]))]),
      );
      expect(differenceOf(cut!, whole!)).toBeLessThan(1e-4);
      expect(differenceOf(whole!, await fullLogits(config, params, [...ids, 3]))).toBeLessThan(1e-4);
    } finally {
      for (const decoder of decoders) await decoder.release();
    }
  });

  it.each(documentConfigs)('begins documents as a packed row has them: %s', async (_name, overrides) => {
    const config = presetConfig('tiny', { nope_after_position: 20, vocab_size: 96, ...overrides });
    const params = livelyParams(7, config);
    const rng = new Rng(3);
    const documents = [45, 1, 33, 10].map((length) => Array.from({ length }, () => 1 + rng.below(95)));
    const positions = documents.flatMap((ids) => ids.map((_, i) => i));
    const decoder = await openDecoder(config, params, { pairsAtOnce: 64 });
    const cached: number[] = [];
    for (const ids of documents) {
      decoder.startDocument();
      cached.push(...(await decoder.feed(ids)));
      expect(decoder.length).toBe(ids.length);
    }
    await decoder.release();
    expect(differenceOf(cached, await fullLogits(config, params, documents.flat(), positions))).toBeLessThan(1e-4);
  });

  it('continues a prompt, the same for the same seed', async () => {
    const decoder = await openDecoder(config, livelyParams(5));
    try {
      const run = async (seed: number) => {
        decoder.reset();
        const ids: number[] = [];
        for await (const id of generate(decoder, [5, 6], {
          maxTokens: 12,
          temperature: 1,
          topK: 20,
          seed,
          stopIds: [],
        }))
          ids.push(id);
        return ids;
      };
      const first = await run(1);
      expect(first).toHaveLength(12);
      expect(await run(1)).toEqual(first);
      expect(await run(2)).not.toEqual(first);
      expect(decoder.length).toBe(13);
      await expect(decoder.feed([config.vocab_size])).rejects.toMatchObject({ code: 'BAD_INPUT' });
      await expect(
        generate(decoder, [], { maxTokens: 1, temperature: 0, topK: 0, seed: 1 }).next(),
      ).rejects.toMatchObject({
        code: 'BAD_INPUT',
      });
    } finally {
      await decoder.release();
    }
  });
});

describe('sampleToken', () => {
  const logits = Float32Array.of(0, 3, 1, 3, 2, -1, -2, -3, -4, -5);
  it('is greedy at temperature 0, the lower id of a tie', () => {
    expect(sampleToken(logits, { temperature: 0, topK: 0 }, new Rng(1))).toBe(1);
  });
  it('keeps to the k best and to their odds', () => {
    const rng = new Rng(2);
    const counts = new Map<number, number>();
    for (let i = 0; i < 3000; i++) {
      const id = sampleToken(logits, { temperature: 1, topK: 3 }, rng);
      counts.set(id, (counts.get(id) ?? 0) + 1);
    }
    expect([...counts.keys()].sort()).toEqual([1, 3, 4]);
    const odds = Math.E / (2 * Math.E + 1);
    expect(counts.get(1)! / 3000).toBeCloseTo(odds, 1);
    expect(new Set(Array.from({ length: 500 }, () => sampleToken(logits, { temperature: 5, topK: 0 }, rng))).size).toBe(
      10,
    );
  });

  it('keeps the fewest tokens that reach top-p', () => {
    const logits = Float32Array.from([0.5, 0.3, 0.15, 0.05].map(Math.log));
    const drawn = (topP: number) => {
      const rng = new Rng(3);
      return [
        ...new Set(Array.from({ length: 400 }, () => sampleToken(logits, { temperature: 1, topK: 0, topP }, rng))),
      ];
    };
    expect(drawn(0.4)).toEqual([0]);
    expect(drawn(0.79).sort()).toEqual([0, 1]);
    expect(drawn(0.9).sort()).toEqual([0, 1, 2]);
    expect(drawn(0)).toEqual([0]);
  });

  it('makes what came before less likely', () => {
    const logits = Float32Array.of(2, 1.5, -1);
    const greedy = (before: number[], repetitionPenalty: number) =>
      sampleToken(logits, { temperature: 0, topK: 0, repetitionPenalty }, new Rng(1), before);
    expect([greedy([], 2), greedy([0], 1), greedy([0], 2)]).toEqual([0, 0, 1]);
    expect(
      sampleToken(Float32Array.of(-1, -1.5), { temperature: 0, topK: 0, repetitionPenalty: 2 }, new Rng(1), [0]),
    ).toBe(1);
  });
});
