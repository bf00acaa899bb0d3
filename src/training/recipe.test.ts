/** @file A recipe's steps: micro-batches give the large batch's step, Engram's tables their own rate, the z-loss counts. */
import { afterAll, describe, expect, it } from 'vitest';
import { packSequence } from '../data/shards.ts';
import { endOfTextOf } from '../model/quasar-long/config.ts';
import { buildContract } from '../model/quasar-long/contract.ts';
import { freezeContract, frozenNames } from '../model/quasar-long/frozen.ts';
import { buildLossGraph } from '../model/quasar-long/graphs.ts';
import { presetConfig } from '../model/quasar-long/presets.ts';
import { type Recipe, recipeSchema } from '../protocol/manifest.ts';
import { nodeSha256 } from '../util/node-sha256.ts';
import { Rng } from '../util/rng.ts';
import { InnerLoop } from './inner-loop.ts';
import { initialise } from './model-state.ts';
import { allocateForRecipe, createOptimizer, loopOptions } from './recipe.ts';
import { deadAfterSteps, loadEntropy, RouterMeter, RouterWatch, worstOf } from './router-health.ts';
import { stateRootOf } from './state-root.ts';

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

  it('leaves frozen tensors alone: no gradient, no moment, and the rest has the gradients that it had', async () => {
    const frozen = { tensors: ['model.word_embeddings.*', '*.A_log', '*.dt_bias', '*.f_proj.weight'], dtype: 'bf16' };
    for (const recipe of [adamw, { ...muon, microBatches: 2 }]) {
      const [all, part] = [await openWith(recipe), await openWith({ ...recipe, frozen })];
      const names = [...part.model.frozen.stored.keys()];
      expect(names).toContain('model.word_embeddings.weight');
      expect(names.filter((name) => name.endsWith('.f_proj.weight')).length).toBeGreaterThan(0);
      const count = names.reduce(
        (sum, name) => sum + (all.model.params.has(name) ? all.model.params.entry(name).length : 0),
        0,
      );
      expect(part.model.params.length).toBe(all.model.params.length - count);
      for (const state of part.optimizer.state()) expect(state.length).toBe(part.model.params.length);
      const before = new Map([...part.model.frozen.stored].map(([name, values]) => [name, values.slice()]));
      // The same start but for the rounding of what is frozen, so that gradients can be compared.
      for (const [{ name }, values] of part.model.frozen.widened())
        (all.model.tensors.get(name) as Float32Array).set(values);
      const [a, b] = [await all.loop.step(sequences, 0), await part.loop.step(sequences, 0)];
      expect(b.loss, recipe.optimizer).toBe(a.loss);
      expect(b.gradNorm).toBeLessThan(a.gradNorm);
      if (recipe.optimizer === 'adamw')
        for (const { name } of part.model.params.entries)
          expect(part.model.gradients.view(name), name).toEqual(all.model.gradients.view(name));
      const losses = [b.loss];
      for (let step = 0; step < 6; step++) losses.push((await part.loop.step(sequences, 5e-3)).loss);
      expect(losses.at(-1)!).toBeLessThan(losses[0]! - 0.3);
      for (const [name, values] of part.model.frozen.stored) expect(values, name).toEqual(before.get(name));
    }
  });

  it('computes nothing for the gradient of a frozen tensor', async () => {
    const options = { batch: 1, seqLen: 16, packed: true, gradients: true };
    const names = frozenNames(freezeContract(buildContract(config), ['*.experts_w*', '*.word_embeddings.weight']));
    const [all, part] = [buildLossGraph(config, options), buildLossGraph(config, { ...options, frozen: names })];
    expect(part.gradientNames).toEqual(all.gradientNames.filter((name) => !names.has(name)));
    expect(part.graph.nodes.length).toBeLessThan(all.graph.nodes.length);
    expect([...part.graph.outputs.keys()].filter((name) => names.has(name.replace('grad:', '')))).toEqual([]);
  });

  it('freezes a router with its selection bias, which no step moves then', async () => {
    const { model, loop } = await openWith({ frozen: { tensors: ['*.mlp.gate.weight'], dtype: 'bf16' } });
    expect(model.biases.length).toBe(0);
    const biases = [...model.frozen.stored].filter(([name]) => name.endsWith('.expert_bias'));
    expect(biases.length).toBeGreaterThan(0);
    const { routers } = await loop.step(sequences, 1e-3);
    expect(routers.length).toBe(biases.length);
    for (const [name, values] of biases) expect(values, name).toEqual(new Float32Array(config.num_experts));
    expect(stateRootOf([model.params.flat(), model.biases.flat()], nodeSha256)).toMatch(/^[0-9a-f]{64}$/);
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

describe('RouterMeter', () => {
  it('gives means over steps of the worst router, and nothing of a model without experts', () => {
    const router = (entropy: number, imbalance: number, deadExperts: number) => ({
      name: 'r',
      entropy,
      imbalance,
      deadExperts,
    });
    expect([worstOf([]), new RouterMeter().take()]).toEqual([null, null]);
    const meter = new RouterMeter();
    meter.add([]);
    expect(meter.take()).toBeNull();
    meter.add([router(1, 1, 0), router(0.5, 3, 1)]);
    meter.add([router(0.75, 1, 1), router(1, 2, 1)]);
    expect(meter.take()).toEqual({ entropy: 0.625, imbalance: 2.5, deadExperts: 2 });
    expect(meter.take()).toBeNull();
  });
});
