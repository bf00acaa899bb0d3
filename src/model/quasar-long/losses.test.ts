/** @file What a loss graph adds up and reports: MTP losses, z-loss, router health; computed again from the logits. */
import { describe, expect, it } from 'vitest';
import { openSession } from '../../engine/session.ts';
import { Rng } from '../../util/rng.ts';
import { feedParams, feedTokens } from './feeds.ts';
import { buildLossGraph, ignoredLabel, type LossGraphOptions } from './graphs.ts';
import { floatsOf, initParams, type Params } from './init.ts';
import { presetConfig } from './presets.ts';

const [batch, seqLen, vocab] = [2, 13, 32];
const config = presetConfig('tiny', {
  ...{ vocab_size: vocab, num_nextn_predict_layers: 2, mtp_loss_scaling_factor: 0.25 },
});
const rng = new Rng(3);
const ids = Array.from({ length: batch * seqLen }, () => 1 + rng.below(vocab - 1));
const labels = ids.map((id, i) => (i % 7 === 3 ? ignoredLabel : id));

async function run(params: Params, options: Partial<LossGraphOptions>, of = config) {
  const { graph } = buildLossGraph(of, { batch, seqLen, packed: false, gradients: false, ...options });
  const session = await openSession(graph);
  const positions = ids.map((_, i) => i % seqLen);
  const shape = [batch, seqLen] as const;
  const results = await session.run({
    ...feedParams(of, params),
    ...{ input_ids: feedTokens(ids, shape), labels: feedTokens(labels, shape) },
    position_ids: feedTokens(positions, shape),
  });
  await session.release();
  return (name: string) => results[name]!.data as Float32Array;
}

const logSumExp = (row: Float32Array) => Math.log(row.reduce((sum, value) => sum + Math.exp(value), 0));

/** Mean of f over the positions whose label, `ahead` places on in the same row, counts. */
function meanOver(logits: Float32Array, ahead: number, f: (row: Float32Array, label: number) => number): number {
  let [sum, count] = [0, 0];
  for (let i = 0; i < batch * seqLen; i++) {
    const isInRow = (i % seqLen) + ahead < seqLen;
    const label = isInRow ? labels[i + ahead]! : ignoredLabel;
    if (label === ignoredLabel) continue;
    sum += f(logits.subarray(i * vocab, (i + 1) * vocab), label);
    count++;
  }
  return sum / count;
}
const crossEntropy = (row: Float32Array, label: number) => logSumExp(row) - row[label]!;

describe('loss graph', () => {
  const params = initParams(config, 5);
  for (const name of params.keys())
    if (/proj|embeddings|lm_head/.test(name)) floatsOf(params, name).forEach((v, i, all) => void (all[i] = v * 4));

  it('adds the losses of MTP layers, each a token further ahead, within rows', async () => {
    const values = await run(params, { logits: true });
    const main = meanOver(values('logits'), 1, crossEntropy);
    const [first, second] = [0, 1].map((j) => meanOver(values(`mtp_logits.${j}`), 2 + j, crossEntropy));
    expect(values('mtp_loss.0')[0]).toBeCloseTo(first!, 5);
    expect(values('mtp_loss.1')[0]).toBeCloseTo(second!, 5);
    expect(values('loss')[0]).toBeCloseTo(main + 0.25 * (first! + second!), 5);
    const sequences = values('sequence_loss');
    const counts = values('sequence_tokens');
    expect((sequences[0]! * counts[0]! + sequences[1]! * counts[1]!) / (counts[0]! + counts[1]!)).toBeCloseTo(main, 5);
  });

  it('adds the z-loss where it is asked for', async () => {
    const plain = await run(params, { logits: true });
    const values = await run(params, { zLoss: 0.5 });
    const z = meanOver(plain('logits'), 1, (row) => logSumExp(row) ** 2);
    expect(values('z_loss')[0]).toBeCloseTo(z, 3);
    expect(values('loss')[0]! - plain('loss')[0]!).toBeCloseTo(0.5 * z, 3);
  });

  it('does not let the MTP layers see beyond what the model predicts from', async () => {
    // The last token of a row changes no MTP logit of a position that is more than j + 1 places before it.
    const before = await run(params, { logits: true });
    const last = seqLen - 1;
    const kept = ids[last]!;
    ids[last] = 1 + (kept % (vocab - 1));
    const after = await run(params, { logits: true });
    ids[last] = kept;
    const rowsThatDiffer = (name: string) =>
      Array.from({ length: batch * seqLen }, (_, i) => i).filter((i) =>
        before(name)
          .subarray(i * vocab, (i + 1) * vocab)
          .some((value, k) => value !== after(name)[i * vocab + k]),
      );
    expect(rowsThatDiffer('logits')).toEqual([last]);
    expect(rowsThatDiffer('mtp_logits.0')).toEqual([last - 1, last]);
    expect(rowsThatDiffer('mtp_logits.1')).toEqual([last - 2, last - 1, last]);
  });

  it('reports load and entropy of each router, over all loops', async () => {
    const looped = presetConfig('tiny', { vocab_size: vocab, num_loops: 2 });
    const even = initParams(looped, 5);
    floatsOf(even, 'model.layers.1.mlp.gate.weight').fill(0);
    const values = await run(even, {}, looped);
    const [name, E] = ['model.layers.1.mlp.gate.expert_bias', looped.num_experts];
    expect(values(`load:${name}`).reduce((sum, value) => sum + value, 0)).toBe(
      2 * ids.length * looped.num_experts_per_tok,
    );
    expect(values(`entropy:${name}`)[0]).toBeCloseTo(Math.log(E), 5);
    const other = values('entropy:model.layers.2.mlp.gate.expert_bias')[0]!;
    expect(other > 0 && other < Math.log(E), `${other}`).toBe(true);
  });
});
