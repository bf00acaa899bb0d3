/** @file Checkpoints that are whole, and every fault of one that is not, by the name of the tensor. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { f32ToBf16 } from '../tensor/half.ts';
import { encodeSafetensors, type TensorBytes, tensorBytes } from '../tensor/safetensors.ts';
import { loadCheckpoint } from './checkpoint.ts';
import { toConfigJson } from './quasar-long/config.ts';
import { buildContract } from './quasar-long/contract.ts';
import { floatsOf, initParams } from './quasar-long/init.ts';
import { presetConfig } from './quasar-long/presets.ts';

const config = presetConfig('tiny', {
  ...{ vocab_size: 64, tie_word_embeddings: true, num_nextn_predict_layers: 1, hybrid_use_short_conv: true },
  ...{ engram_layers: [2], engram_dim: 16, engram_slots: 100, engram_num_heads: 1, num_loops: 2 },
});
const params = initParams(config, 3);
const contract = buildContract(config);
const slope = 'model.layers.3.attention.gla_attention.slope';
const engram = 'model.layers.2.engram';
const norm = 'model.norm.weight';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'accrete-checkpoint-'));
  await writeFile(join(folder, 'config.json'), JSON.stringify(toConfigJson(config)));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function loadAfter(change: (tensors: Map<string, TensorBytes>) => void) {
  const tensors = new Map(contract.map(({ name, shape }) => [name, tensorBytes(params.get(name)!, shape)]));
  change(tensors);
  await writeFile(join(folder, 'model.safetensors'), encodeSafetensors(tensors));
  return await loadCheckpoint(folder);
}

/** A change of one float32 tensor's numbers. */
const withValues = (name: string, change: (values: Float32Array) => void) => (tensors: Map<string, TensorBytes>) => {
  const values = floatsOf(params, name).slice();
  change(values);
  tensors.set(name, tensorBytes(values, tensors.get(name)!.shape));
};

describe('loadCheckpoint', () => {
  it('gives every tensor back, int64 included', async () => {
    const read = await loadAfter(() => {});
    expect(read.config).toEqual(config);
    for (const { name } of contract) expect(read.params.get(name), name).toEqual(params.get(name));
  });

  it('computes the buffers that the config determines, and takes rounded ones', async () => {
    const read = await loadAfter((tensors) => {
      for (const name of ['model.rotary_emb.inv_freq', `${engram}.token_map`, `${engram}.ngram_orders_buf`])
        tensors.delete(name);
      tensors.set(slope, tensorBytes(f32ToBf16(floatsOf(params, slope)), tensors.get(slope)!.shape));
    });
    for (const name of ['model.rotary_emb.inv_freq', `${engram}.token_map`, `${engram}.ngram_orders_buf`])
      expect(read.params.get(name), name).toEqual(params.get(name));
  });

  const faults: [string, string, string, (tensors: Map<string, TensorBytes>) => void][] = [
    ['a lacking tensor', 'CHECKPOINT_MISMATCH', norm, (tensors) => void tensors.delete(norm)],
    // Nothing but the checkpoint knows the hash seeds.
    ['lacking hash seeds', 'CHECKPOINT_MISMATCH', `${engram}.seeds`, (t) => void t.delete(`${engram}.seeds`)],
    [
      'a tensor too many',
      'CHECKPOINT_MISMATCH',
      'lm_head.weight',
      (tensors) => void tensors.set('lm_head.weight', tensorBytes(new Float32Array(64 * 32), [64, 32])),
    ],
    [
      'a wrong shape',
      'CHECKPOINT_MISMATCH',
      norm,
      (tensors) => void tensors.set(norm, tensorBytes(new Float32Array(32), [32, 1])),
    ],
    [
      'integers for weights',
      'CHECKPOINT_MISMATCH',
      norm,
      (tensors) => void tensors.set(norm, tensorBytes(new Int32Array(32), [32])),
    ],
    [
      'weights for integers',
      'CHECKPOINT_MISMATCH',
      `${engram}.seeds`,
      (tensors) => void tensors.set(`${engram}.seeds`, tensorBytes(new Float32Array(2), [2])),
    ],
    ['NaN', 'CHECKPOINT_VALUES', norm, withValues(norm, (values) => void (values[7] = NaN))],
    ['an infinity', 'CHECKPOINT_VALUES', norm, withValues(norm, (values) => void (values[0] = -Infinity))],
    ['decays of another model', 'CHECKPOINT_VALUES', slope, withValues(slope, (values) => void (values[1] = -2))],
    [
      'other n-gram orders than the config',
      'CHECKPOINT_VALUES',
      `${engram}.ngram_orders_buf`,
      (t) => void t.set(`${engram}.ngram_orders_buf`, tensorBytes(BigInt64Array.of(2n, 4n), [2])),
    ],
    [
      'a canonical token id out of range',
      'CHECKPOINT_VALUES',
      `${engram}.token_map`,
      (t) => void t.set(`${engram}.token_map`, tensorBytes(new BigInt64Array(64).fill(2n ** 40n), [64])),
    ],
  ];
  it.each(faults)('refuses %s: %s, %s', async (_fault, code, name, change) => {
    const error = await loadAfter(change).then(
      () => null,
      (reason: unknown) => reason as Error,
    );
    expect(error).toMatchObject({ code });
    expect(error?.message).toContain(name);
  });
});
