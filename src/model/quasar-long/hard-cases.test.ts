/** @file Shapes and weights at the edges: the float32 engine against the reference in float64, gradients included. */
import { describe, expect, it } from 'vitest';
import { runReference } from '../../engine/reference.ts';
import { openSession } from '../../engine/session.ts';
import { Rng } from '../../util/rng.ts';
import { buildContract } from './contract.ts';
import { feedParams, feedTokens } from './feeds.ts';
import { openDecoder } from './generate.ts';
import { buildLossGraph } from './graphs.ts';
import { floatsOf, initParams, type TensorValues } from './init.ts';
import { presetConfig } from './presets.ts';

interface Case {
  readonly overrides?: Readonly<Record<string, unknown>>;
  /** Lengths of the documents of one row; one unpacked row of 37 by default. */
  readonly lengths?: readonly number[];
  readonly prepare?: (params: Map<string, TensorValues>) => void;
}

const fill = (name: string, value: (i: number) => number) => (params: Map<string, TensorValues>) =>
  floatsOf(params, name).forEach((_, i, all) => void (all[i] = value(i)));
const raven = 'model.layers.2.attention.raven_attention';

const cases: [string, Case][] = [
  [
    'documents of one token, and padding',
    { lengths: [1, 1, 9, 1, 31, 1, 1, 1], overrides: { num_experts_per_tok: 1 } },
  ],
  [
    'every token to one expert',
    {
      prepare: fill('model.layers.1.mlp.gate.expert_bias', (i) => (i === 5 ? 9 : 0)),
      overrides: { num_experts_per_tok: 1 },
    },
  ],
  ['seven experts, five a token', { overrides: { num_experts: 7, n_group: 1, topk_group: 1, num_experts_per_tok: 5 } }],
  [
    'slots that decay to nothing at once',
    { prepare: fill(`${raven}.A_log`, () => 6), overrides: { hybrid_raven_topk: 2 } },
  ],
  ['slots that tie', { prepare: fill(`${raven}.r_proj.weight`, () => 0), overrides: { hybrid_raven_topk: 3 } }],
  [
    'key channels that decay to nothing at once, packed',
    {
      overrides: { hybrid_quasar_mode: 'fused_recurrent', hybrid_use_short_conv: true },
      lengths: [2, 1, 17, 33],
      prepare: fill('model.layers.1.attention.quasar_attention.A_log', (i) => (i % 2 ? 5 : -6)),
    },
  ],
  [
    'engram and a local window, packed',
    {
      overrides: {
        ...{ engram_layers: [1], engram_dim: 20, engram_slots: 50, engram_num_heads: 1, hybrid_local_window_size: 3 },
        ...{ num_loops: 2, num_nextn_predict_layers: 1, mtp_loss_scaling_factor: 1 },
      },
      lengths: [5, 1, 20],
      prepare: fill('model.layers.1.engram.out_proj.weight', (i) => Math.sin(i)),
    },
  ],
  [
    'mixed branches and a window that replace the attention',
    {
      overrides: {
        ...{ hybrid_branch_layout: 'mixed', hybrid_replacement_mode: 'replace', hybrid_local_window_size: 40 },
        ...{ hybrid_gla_layers: [1], hybrid_quasar_use_rope: true },
      },
    },
  ],
];

describe.each(cases)('%s', (_name, { overrides, lengths = [37], prepare }) => {
  it('is what float64 computes', async () => {
    const config = presetConfig('tiny', { vocab_size: 48, ...overrides });
    const params = initParams(config, 9);
    const rng = new Rng(8);
    for (const { name, kind } of buildContract(config))
      if (kind === 'param') floatsOf(params, name).forEach((v, i, all) => void (all[i] = v + 0.05 * rng.normal()));
    prepare?.(params);
    const time = lengths.reduce((sum, length) => sum + length, 0);
    const ids = Array.from({ length: time }, () => 1 + rng.below(47));
    const positions = lengths.flatMap((length) => Array.from({ length }, (_, i) => i));
    const labels = ids.map((id, i) => (positions[i] === 0 ? -100 : id));
    const shape = [1, time] as const;
    const feeds = {
      ...feedParams(config, params),
      ...{ input_ids: feedTokens(ids, shape), position_ids: feedTokens(positions, shape) },
      labels: feedTokens(labels, shape),
    };
    const options = { batch: 1, seqLen: time, packed: lengths.length > 1, gradients: true, logits: true };
    const { graph, gradientNames } = buildLossGraph(config, options);
    const exact = runReference(graph, feeds, { precision: 'f64' });
    const session = await openSession(graph);
    const results = await session.run(feeds);
    await session.release();
    const distance = (name: string) => {
      const [got, wanted] = [results[name]!.data as Float32Array, exact[name]!.data as Float64Array];
      const size = Math.sqrt(wanted.reduce((sum, value) => sum + value * value, 0));
      return { size, error: Math.sqrt(wanted.reduce((sum, value, i) => sum + (value - got[i]!) ** 2, 0)) };
    };
    expect(distance('logits').error / distance('logits').size).toBeLessThan(1e-5);
    const gradients = gradientNames.map((name) => ({ name, ...distance(`grad:${name}`) }));
    const total = Math.sqrt(gradients.reduce((sum, { size }) => sum + size * size, 0));
    // The rule of the golden cases, four times as strict (gla normalises almost nothing at a first token).
    expect(gradients.filter(({ error, size }) => !(error <= 5e-4 * size + 2.5e-6 * total))).toEqual([]);
    // What the contract calls a param has a gradient.
    expect(gradients.filter(({ size }) => size === 0).map(({ name }) => name)).toEqual([]);
    if (lengths.length > 1) return;
    // Token by token the branches are the recurrences themselves, whose decays nothing limits.
    const decoder = await openDecoder(config, params);
    for (const [at, id] of ids.entries()) {
      const cached = await decoder.feed([id]);
      const row = (exact.logits!.data as Float64Array).subarray(at * 48, (at + 1) * 48);
      expect(Math.max(...cached.map((value, i) => Math.abs(value - row[i]!))), `position ${at}`).toBeLessThan(1e-4);
    }
    await decoder.release();
  });
});
