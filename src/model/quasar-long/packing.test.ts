/** @file Packing, losses by row, loads and hard inputs: what the golden cases do not reach. */
import { describe, expect, it } from 'vitest';
import { openSession } from '../../engine/session.ts';
import { Rng } from '../../util/rng.ts';
import { feedParams, feedTokens } from './feeds.ts';
import { buildLossGraph, ignoredLabel, type LossGraphOptions } from './graphs.ts';
import { floatsOf, initParams } from './init.ts';
import { presetConfig } from './presets.ts';
import { loadImbalance, updateSelectionBias } from './selection-bias.ts';

const config = presetConfig('tiny');
const params = initParams(config, 11);
for (const name of params.keys())
  if (/weight$|experts/.test(name) && !name.includes('norm'))
    floatsOf(params, name).forEach((value, i, all) => void (all[i] = value * 3));

async function run(
  options: LossGraphOptions,
  ids: readonly number[],
  positions: readonly number[],
  labels: readonly number[],
) {
  const { graph } = buildLossGraph(config, options);
  const session = await openSession(graph);
  const shape = [options.batch, options.seqLen] as const;
  const results = await session.run({
    ...feedParams(config, params),
    input_ids: feedTokens(ids, shape),
    position_ids: feedTokens(positions, shape),
    labels: feedTokens(labels, shape),
  });
  await session.release();
  return (name: string) => results[name]!.data as Float32Array;
}

const worst = (a: Float32Array, b: Float32Array) =>
  a.reduce((max, value, i) => Math.max(max, Math.abs(value - b[i]!)), 0);
const draw = (count: number, seed: number) => {
  const rng = new Rng(seed);
  return Array.from({ length: count }, () => 1 + rng.below(config.vocab_size - 1));
};
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);

describe('packed rows', () => {
  // Boundaries on the edge of a chunk, beside it, twice in one chunk; a document of several chunks, one of one token.
  const lengths = [32, 31, 1, 2, 70, 9, 15];
  const time = lengths.reduce((sum, length) => sum + length, 0);
  const ids = draw(time, 1);
  const positions = lengths.flatMap(upTo);
  const labels = ids.map((id, i) => (positions[i] === 0 ? ignoredLabel : id));

  it('give the logits of their documents run alone', async () => {
    const packed = await run(
      { batch: 1, seqLen: time, packed: true, gradients: false, logits: true },
      ids,
      positions,
      labels,
    );
    const logits = packed('logits');
    let at = 0;
    for (const length of lengths) {
      const part = ids.slice(at, at + length);
      const alone = await run(
        { batch: 1, seqLen: length, packed: false, gradients: false, logits: true },
        part,
        upTo(length),
        part,
      );
      const [from, to] = [at * config.vocab_size, (at + length) * config.vocab_size];
      expect(worst(alone('logits'), logits.subarray(from, to)), `document at ${at}`).toBeLessThan(1e-4);
      at += length;
    }
  });

  it('give the gradients of their documents, weighted by their labels', async () => {
    const options = { gradients: true, packed: true } as const;
    const two = [40, 24];
    const both = await run({ ...options, batch: 1, seqLen: 64 }, ids.slice(0, 64), two.flatMap(upTo), [
      ...ids.slice(0, 40),
      ignoredLabel,
      ...ids.slice(41, 64),
    ]);
    const first = await run({ ...options, batch: 1, seqLen: 40 }, ids.slice(0, 40), upTo(40), ids.slice(0, 40));
    const second = await run({ ...options, batch: 1, seqLen: 24 }, ids.slice(40, 64), upTo(24), ids.slice(40, 64));
    for (const name of ['model.word_embeddings.weight', 'model.layers.1.attention.quasar_attention.k_proj.weight']) {
      const [x, y, z] = [both, first, second].map((values) => values(`grad:${name}`)) as [
        Float32Array,
        Float32Array,
        Float32Array,
      ];
      const mixed = y.map((value, i) => (39 * value + 23 * z[i]!) / 62);
      const size = Math.sqrt(mixed.reduce((sum, value) => sum + value * value, 0));
      const error = Math.sqrt(mixed.reduce((sum, value, i) => sum + (value - x[i]!) ** 2, 0));
      expect(error / size, name).toBeLessThan(1e-3);
    }
  });

  it('equal unpacked rows where each is one document', async () => {
    const two = { batch: 2, seqLen: 80, gradients: false } as const;
    const row = [...upTo(80), ...upTo(80)];
    const plain = await run({ ...two, packed: false }, ids.slice(0, 160), row, ids.slice(0, 160));
    const packed = await run({ ...two, packed: true }, ids.slice(0, 160), row, ids.slice(0, 160));
    expect(worst(plain('sequence_loss'), packed('sequence_loss'))).toBeLessThan(1e-5);
  });
});

describe('loss graph', () => {
  it('reports each row, its labels, and the loads of every router', async () => {
    const ids = draw(3 * 20, 2);
    const labels = ids.map((id, i) => (i >= 40 || i % 20 === 7 ? ignoredLabel : id)); // the third row has none
    const values = await run({ batch: 3, seqLen: 20, packed: false, gradients: false }, ids, upTo(60), labels);
    expect([...values('sequence_tokens')]).toEqual([18, 18, 0]);
    const [a, b, c] = values('sequence_loss') as unknown as [number, number, number];
    expect(c).toBe(0);
    expect(values('loss')[0]).toBeCloseTo((a + b) / 2, 5);
    for (const layer of [1, 2, 3]) {
      const load = values(`load:model.layers.${layer}.mlp.gate.expert_bias`);
      expect(
        load.reduce((sum, value) => sum + value, 0),
        `layer ${layer}`,
      ).toBe(60 * config.num_experts_per_tok);
    }
  });

  it('is finite, with its gradients, on one token repeated and on padding alone', async () => {
    for (const id of [9, config.pad_token_id!]) {
      const ids = new Array<number>(96).fill(id);
      const { graph, gradientNames } = buildLossGraph(config, { batch: 1, seqLen: 96, packed: true, gradients: true });
      const session = await openSession(graph);
      const tokens = feedTokens(ids, [1, 96]);
      const positions = feedTokens(upTo(96), [1, 96]);
      const results = await session.run({
        ...feedParams(config, params),
        input_ids: tokens,
        position_ids: positions,
        labels: tokens,
      });
      await session.release();
      for (const name of ['loss', ...gradientNames.map((gradient) => `grad:${gradient}`)])
        expect((results[name]!.data as Float32Array).every(Number.isFinite), `${name} with token ${id}`).toBe(true);
      if (id === config.pad_token_id)
        expect((results['grad:model.word_embeddings.weight']!.data as Float32Array).every((value) => value === 0)).toBe(
          true,
        );
    }
  });
});

describe('updateSelectionBias', () => {
  it('moves each bias by the rate towards the mean load', () => {
    const bias = Float32Array.of(0, 0.5, -0.5, 1);
    updateSelectionBias(bias, [10, 2, 4, 0], 0.125);
    expect([...bias]).toEqual([-0.125, 0.625, -0.5, 1.125]);
    expect(loadImbalance([10, 2, 4, 0])).toBe(2.5);
    expect(loadImbalance([0, 0])).toBe(1);
  });
});
