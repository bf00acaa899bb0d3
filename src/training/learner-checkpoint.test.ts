/** @file A learner that was stopped and resumed has the bits of one that was not; a damaged state changes nothing. */
import { afterAll, describe, expect, it } from 'vitest';
import { packSequence, type Sequence } from '../data/shards.ts';
import { endOfTextOf } from '../model/quasar-long/config.ts';
import { presetConfig } from '../model/quasar-long/presets.ts';
import { recipeSchema } from '../protocol/manifest.ts';
import { nodeSha256 as hash } from '../util/node-sha256.ts';
import { Rng } from '../util/rng.ts';
import { InnerLoop } from './inner-loop.ts';
import { encodeLearner, learnerCheckpointBytes, restoreLearner } from './learner-checkpoint.ts';
import { initialise } from './model-state.ts';
import { allocateForRecipe, createOptimizer, loopOptions } from './recipe.ts';

const config = presetConfig('tiny');
const seqLen = 16;
const adamw = {
  ...{ optimizer: 'adamw', beta1: '0.9', beta2: '0.95', epsilon: '1e-8', weightDecay: '0.1', clipNorm: '1' },
  ...{ selectionBiasRate: '0.01', batchSequences: 4, joinWarmupSteps: 0, precision: 'f32' },
};
const muon = { ...adamw, optimizer: 'muon', momentum: '0.95', newtonSchulzSteps: 5, microBatches: 2, zLoss: '1e-4' };
const closing: { close(): Promise<void> }[] = [];
afterAll(async () => {
  for (const one of closing) await one.close();
});

async function openLearner(fields: unknown, seed: string) {
  const recipe = recipeSchema.parse(fields);
  const model = allocateForRecipe(config, seed, recipe);
  initialise(model, seed);
  const optimizer = createOptimizer(model, recipe, 1);
  const loop = await InnerLoop.open(model, optimizer, loopOptions(recipe, seqLen, 1));
  closing.push(loop, optimizer);
  const parts = { model, optimizer, hash, identity: { recipe: JSON.stringify(recipe) } };
  const train = async (from: number, to: number): Promise<Uint8Array> => {
    for (let step = from; step < to; step++) await loop.step(batchOf(step), 1e-3);
    return encodeLearner(parts, { steps: to, tokens: to * 4 * seqLen, skippedInARow: loop.skippedInARow });
  };
  return { parts, train };
}

function batchOf(step: number): Sequence[] {
  const rng = new Rng(step);
  return Array.from({ length: 4 }, () =>
    packSequence(
      Array.from({ length: seqLen }, () => rng.below(40)),
      endOfTextOf(config),
    ),
  );
}

describe("a learner's state", () => {
  it('goes on with the same bits, by AdamW and by Muon with micro-batches, also with frozen tensors', async () => {
    const frozen = { tensors: ['*.A_log', '*.dt_bias', '*.f_proj.weight', 'lm_head.weight'], dtype: 'bf16' };
    for (const recipe of [adamw, muon, { ...adamw, frozen }, { ...muon, frozen }]) {
      const straight = await openLearner(recipe, 'seed');
      const middle = await straight.train(0, 4);
      const end = await straight.train(4, 8);
      const resumed = await openLearner(recipe, 'another seed');
      expect(restoreLearner(resumed.parts, middle)).toEqual({ steps: 4, tokens: 256, skippedInARow: 0 });
      expect(Buffer.compare(await resumed.train(4, 8), end), recipe.optimizer).toBe(0);
      expect(end.byteLength).toBeLessThanOrEqual(learnerCheckpointBytes(straight.parts));
    }
  });

  it('is refused where a bit differs, it is cut short, or it is of another run; nothing is changed then', async () => {
    const { parts, train } = await openLearner(adamw, 'seed');
    const saved = await train(0, 1);
    const after = await train(1, 2);
    const damages: [string, Uint8Array, string][] = [
      ['a number', saved.map((byte, i) => (i === saved.length - 9 ? byte ^ 1 : byte)), 'BAD_CHECKPOINT'],
      ['cut', saved.subarray(0, saved.length - 4), 'BAD_CHECKPOINT'],
      ['empty', new Uint8Array(0), 'BAD_CHECKPOINT'],
      ['no header', new Uint8Array(64).fill(0xff), 'BAD_CHECKPOINT'],
    ];
    for (const [what, bytes, code] of damages)
      expect(() => restoreLearner(parts, bytes), what).toThrowError(expect.objectContaining({ code }));
    const other = await openLearner(muon, 'seed');
    expect(() => restoreLearner(other.parts, saved)).toThrowError(expect.objectContaining({ code: 'OTHER_RUN' }));
    expect(Buffer.compare(await train(2, 2), after)).toBe(0);
  });
});
