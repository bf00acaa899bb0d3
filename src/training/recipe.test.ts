/** @file A recipe's steps: micro-batches give the large batch's step, Engram's tables their own rate, the z-loss counts. */
import { afterAll, describe, expect, it } from 'vitest';
import { packSequence } from '../data/shards.ts';
import { endOfTextOf } from '../model/quasar-long/config.ts';
import { presetConfig } from '../model/quasar-long/presets.ts';
import { type Recipe, recipeSchema } from '../protocol/manifest.ts';
import { Rng } from '../util/rng.ts';
import { InnerLoop } from './inner-loop.ts';
import { initialise } from './model-state.ts';
import { allocateForRecipe, createOptimizer, loopOptions } from './recipe.ts';
import { deadAfterSteps, loadEntropy, RouterWatch } from './router-health.ts';

const config = presetConfig('tiny');
const seqLen = 32;
const adamw: Recipe = recipeSchema.parse({
  ...{ optimizer: 'adamw', beta1: '0.9', beta2: '0.95', epsilon: '1e-8', weightDecay: '0.1', clipNorm: '1' },
  ...{ selectionBiasRate: '0.01', batchSequences: 6, joinWarmupSteps: 0, precision: 'f32' },
});
const muon = { ...adamw, optimizer: 'muon', momentum: '0.95', newtonSchulzSteps: 5 };
const closing: { close(): Promise<void> }[] = [];
afterAll(async () => {
  for (const one of closing) await one.close();
});

async function openWith(fields: Record<string, unknown>) {
  const recipe = recipeSchema.parse({ ...adamw, ...fields });
  const model = allocateForRecipe(config, 'seed', recipe);
  initialise(model, 'seed');
  const optimizer = createOptimizer(model, recipe, 1);
  const loop = await InnerLoop.open(model, optimizer, loopOptions(recipe, seqLen, 1));
  closing.push(loop, optimizer);
  return { model, optimizer, loop };
}

/** Documents of many lengths, so that rows differ in labels that count. */
const rng = new Rng(7);
const sequences = Array.from({ length: 6 }, (_, row) =>
  packSequence(
    Array.from({ length: seqLen }, () => (rng.below(row + 2) === 0 ? endOfTextOf(config) : 1 + rng.below(40))),
    endOfTextOf(config),
  ),
);

describe('a recipe', () => {
  it('averages micro-batches by counted labels, which is the large batch up to rounding', async () => {
    const [whole, parts] = [await openWith({}), await openWith({ microBatches: 3 })];
    const [a, b] = [await whole.loop.step(sequences, 1e-3), await parts.loop.step(sequences, 1e-3)];
    expect(b.loss).toBeCloseTo(a.loss, 5);
    expect(b.gradNorm / a.gradNorm).toBeCloseTo(1, 4);
    expect(b.tokens).toBe(a.tokens);
    expect(b.routers).toEqual(a.routers);
    const expected = whole.model.gradients.flat();
    const scale = Math.max(...expected.map(Math.abs));
    parts.model.gradients.flat().forEach((value, i) => {
      if (Math.abs(value - expected[i]!) > 1e-4 * scale) expect(value, `gradient ${i}`).toBe(expected[i]);
    });
    expect(parts.model.biases.flat()).toEqual(whole.model.biases.flat());
  });

  it('learns with Muon, and adds the z-loss', async () => {
    const { loop } = await openWith(muon);
    const losses: number[] = [];
    for (let step = 0; step < 8; step++) losses.push((await loop.step(sequences, 5e-3)).loss);
    expect(losses.at(-1)!).toBeLessThan(losses[0]! - 0.5);
    const z = await openWith({ zLoss: '0.01' });
    // logsumexp is near ln(vocabulary) at the start.
    const added = (await z.loop.step(sequences, 0)).loss - losses[0]!;
    expect(added).toBeCloseTo(0.01 * Math.log(config.vocab_size) ** 2, 1);
    expect(added).toBeGreaterThan(0.1);
  });

  it('keeps the form of a recipe without the later fields, and refuses a part that is no whole number', () => {
    expect(Object.keys(adamw)).not.toContain('microBatches');
    expect(recipeSchema.safeParse({ ...adamw, momentum: '0.9' }).success).toBe(false);
    expect(recipeSchema.safeParse({ ...adamw, optimizer: 'muon' }).success).toBe(false);
    expect(recipeSchema.safeParse({ ...adamw, microBatches: 4 }).error?.issues[0]?.path).toEqual(['microBatches']);
  });
});

describe('RouterWatch', () => {
  it('counts an expert dead after a while without a token, alive with its next', () => {
    const watch = new RouterWatch('r');
    for (let step = 1; step < deadAfterSteps; step++) expect(watch.add([3, 1, 0, 0]).deadExperts).toBe(0);
    expect(watch.add([3, 0, 0, 1])).toMatchObject({ name: 'r', imbalance: 3, deadExperts: 1 });
    expect(watch.add([1, 1, 1, 1])).toEqual({ name: 'r', imbalance: 1, entropy: 1, deadExperts: 0 });
    expect([loadEntropy([4, 0]), loadEntropy([2, 2, 0, 0]), loadEntropy([5]), loadEntropy([0, 0])]).toEqual([
      0, 0.5, 1, 1,
    ]);
  });
});
