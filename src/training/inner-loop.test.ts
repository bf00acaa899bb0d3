/** @file The inner loop on a real session: it learns, and the same calls give the same bits. */
import { afterAll, describe, expect, it } from 'vitest';
import { packSequence, type Sequence } from '../data/shards.ts';
import { openEvaluator } from '../evaluation/evaluator.ts';
import { endOfTextOf } from '../model/quasar-long/config.ts';
import { presetConfig } from '../model/quasar-long/presets.ts';
import { sha256 } from '../protocol/hash.ts';
import { Rng } from '../util/rng.ts';
import { InnerLoop } from './inner-loop.ts';
import { allocateModel, initialise, type ModelState } from './model-state.ts';
import { AdamW, traitsFromContract } from './optimizer.ts';
import { stateRootOf } from './state-root.ts';

const seqLen = 32;
const batch = 4;
const config = presetConfig('tiny');
const opened: InnerLoop[] = [];
afterAll(async () => {
  for (const loop of opened) await loop.close();
});

/** Text that can be learned: a walk on a ring of 40 tokens with few kinds of steps, cut into documents. */
function sequenceOf(seed: number): Sequence {
  const rng = new Rng(seed);
  let at = rng.below(40);
  const ids = Array.from({ length: seqLen }, () => {
    at = (at + 1 + rng.below(2)) % 40;
    return rng.below(16) === 0 ? endOfTextOf(config) : 1 + at;
  });
  return packSequence(ids, endOfTextOf(config));
}

async function openLoop(): Promise<{ model: ModelState; loop: InnerLoop; optimizer: AdamW }> {
  const model = allocateModel(config, 'seed', { extraParamBuffers: 2 });
  initialise(model, 'seed');
  const optimizer = new AdamW(model.params, model.gradients, {
    ...{ beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, clipNorm: 1 },
    traitsOf: traitsFromContract(model.contract),
  });
  const loop = await InnerLoop.open(model, optimizer, { batch, seqLen, threads: 1, selectionBiasRate: 0.01 });
  opened.push(loop);
  return { model, loop, optimizer };
}

const batchOf = (step: number): Sequence[] => Array.from({ length: batch }, (_, row) => sequenceOf(step * batch + row));

const rootOf = (model: ModelState, optimizer: AdamW): string => {
  return stateRootOf([model.params.flat(), model.biases.flat(), ...optimizer.state()], sha256);
};

describe('InnerLoop', () => {
  it('lowers the loss, on text never trained on too, and gives the same bits twice', async () => {
    const [one, two] = [await openLoop(), await openLoop()];
    const evaluator = await openEvaluator(config, { batch: 3, seqLen, threads: 1 });
    const unseen = Array.from({ length: 7 }, (_, i) => sequenceOf(1_000_000 + i));
    const meanOf = async () => (await evaluator.sequenceLosses(one.model.tensors, unseen)).losses;
    const before = await meanOf();
    const losses: number[] = [];
    for (let step = 0; step < 30; step++) {
      const result = await one.loop.step(batchOf(step), 0.01);
      const again = await two.loop.step(batchOf(step), 0.01);
      expect(again, `step ${step}`).toEqual(result);
      expect(result.isSkipped).toBe(false);
      losses.push(result.loss);
    }
    expect(losses[0]).toBeCloseTo(Math.log(config.vocab_size), 0);
    expect(losses.at(-1)!).toBeLessThan(losses[0]! - 1.5);
    const after = await meanOf();
    after.forEach((loss, i) => {
      expect(loss, `sequence ${i}`).toBeLessThan(before[i]! - 1);
    });
    expect(rootOf(two.model, two.optimizer)).toBe(rootOf(one.model, one.optimizer));
    expect([...one.model.biases.flat()].some((bias) => bias !== 0)).toBe(true);
    await evaluator.close();
  });

  it('changes nothing where the loss is not a number, and gives up after a while', async () => {
    const { model, loop, optimizer } = await openLoop();
    model.tensors.get('model.norm.weight')![0] = Number.NaN;
    const before = rootOf(model, optimizer);
    expect((await loop.step(batchOf(0), 0.01)).isSkipped).toBe(true);
    expect(rootOf(model, optimizer)).toBe(before);
    const many = async () => {
      for (let step = 0; step < 12; step++) await loop.step(batchOf(step), 0.01);
    };
    await expect(many()).rejects.toMatchObject({ code: 'DIVERGED' });
  });

  it('refuses a batch of another size', async () => {
    const { loop } = await openLoop();
    await expect(loop.step(batchOf(0).slice(1), 0.01)).rejects.toMatchObject({ code: 'BAD_BATCH' });
  });
});
