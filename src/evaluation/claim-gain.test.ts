/** @file The gain of a claim on a real session: an improvement passes, the same with its sign flipped is harm. */
import { describe, expect, it } from 'vitest';
import { packSequence, type Sequence } from '../data/shards.ts';
import { planFragments } from '../merge/fragment-plan.ts';
import { type FragmentValues, packFragment } from '../merge/fragment-values.ts';
import { floatsOf } from '../model/quasar-long/init.ts';
import { presetConfig } from '../model/quasar-long/presets.ts';
import { InnerLoop } from '../training/inner-loop.ts';
import { allocateModel, initialise } from '../training/model-state.ts';
import { AdamW } from '../training/optimizer.ts';
import { Rng } from '../util/rng.ts';
import { applyClaim, measureClaimGain } from './claim-gain.ts';
import { openEvaluator } from './evaluator.ts';

const config = presetConfig('tiny');
const seqLen = 32;

/** Only 20 of 512 tokens occur: there is something to learn at once. */
function sequenceOf(seed: number): Sequence {
  const rng = new Rng(`gain ${seed}`);
  return packSequence(
    Array.from({ length: seqLen }, () => 1 + rng.below(20)),
    0,
  );
}

/**
 * Heads that have learned a little, and the pseudo-gradient of ten more steps of the fragment, of `fragments`, that
 * holds the output head. From fresh heads flipping proves nothing: head and hidden states learn a product, whose sign
 * stays when both flip.
 */
async function trainedClaim(fragments: number) {
  const model = allocateModel(config, 'seed', { extraParamBuffers: 2 });
  initialise(model, 'seed');
  const plan = planFragments(model.contract, fragments);
  const fragment = plan.fragments.find(({ slices }) => slices.some(({ name }) => name === 'lm_head.weight'))!;
  const optimizer = new AdamW(model.params, model.gradients, {
    ...{ beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0, clipNorm: 1 },
  });
  const loop = await InnerLoop.open(model, optimizer, { batch: 4, seqLen, threads: 1, selectionBiasRate: 0.01 });
  const train = async (from: number, to: number) => {
    for (let step = from; step < to; step++)
      await loop.step(
        Array.from({ length: 4 }, (_, row) => sequenceOf(4 * step + row)),
        0.01,
      );
  };
  await train(0, 10);
  const start = new Map([...model.tensors].map(([name, values]) => [name, values.slice()]));
  await train(10, 20);
  await loop.close();
  const before = packFragment(fragment, (name) => floatsOf(start, name));
  const after = packFragment(fragment, (name) => floatsOf(model.tensors, name));
  const claim: FragmentValues = {
    params: before.params.map((theta, i) => theta - after.params[i]!),
    selectionBias: after.selectionBias,
  };
  return { params: start, fragment, claim };
}

describe('measureClaimGain', () => {
  it('accepts real work, refuses it upside down, and leaves the heads alone', async () => {
    const { params, fragment, claim } = await trainedClaim(1);
    const evaluator = await openEvaluator(config, { batch: 4, seqLen, threads: 1 });
    const sequences = Array.from({ length: 8 }, (_, i) => sequenceOf(10_000 + i));
    const heads = [...params].map(([name, values]) => [name, [...values]]);
    const options = { params, fragment, claim, outerRate: 0.8, sequences };
    const honest = await measureClaimGain(evaluator, options);
    expect(honest.isHarmful).toBe(false);
    expect(honest.gain).toBeGreaterThan(0.1);
    const flipped = { ...claim, params: claim.params.map((value) => -value) };
    const harmful = await measureClaimGain(evaluator, { ...options, claim: flipped });
    expect(harmful.isHarmful).toBe(true);
    expect(harmful.gain).toBeLessThan(-0.1);
    expect([...params].map(([name, values]) => [name, [...values]])).toEqual(heads);
    await evaluator.close();
  });

  it('copies only the tensors that the fragment touches', async () => {
    const { params, fragment, claim } = await trainedClaim(4);
    const touched = new Set([...fragment.slices, ...fragment.selectionBiases].map(({ name }) => name));
    const changed = applyClaim({ params, fragment, claim, outerRate: 0.5 });
    for (const [name, values] of changed) expect(values === params.get(name), name).toBe(!touched.has(name));
  });
});
