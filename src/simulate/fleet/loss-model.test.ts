/** @file The model of loss is Hoffmann's where it was fitted, and never more than what an untrained network has. */
import { expect, it } from 'vitest';
import { presetNames } from '../../model/quasar-long/presets.ts';
import { hotkeyOf } from './fleet-keys.ts';
import { modelledLoss } from './loss-model.ts';
import { syntheticManifest } from './run-manifest.ts';
import { sizesOf } from './sizes.ts';

const owner = hotkeyOf('owner', 'stub').hotkey;

it("is the paper's of Chinchilla itself: 70e9 parameters, 1.4e12 tokens", () => {
  expect(modelledLoss({ activeParameters: 70e9, vocabSize: 32_000 }, 1.4e12)).toBeCloseTo(1.9366, 3);
});

it('begins at ln(vocabulary) in every preset, never rises, and is the formula once that is below', () => {
  for (const preset of presetNames) {
    const sizes = sizesOf(syntheticManifest({ preset, owner, seed: '1', createdAtMs: 1, learners: 3, overrides: {} }));
    const untrained = Math.log(sizes.vocabSize);
    expect(modelledLoss(sizes, 0), preset).toBe(untrained);
    const losses = Array.from({ length: 17 }, (_, decade) => modelledLoss(sizes, 10 ** decade));
    expect(losses, preset).toEqual(losses.toSorted((a, b) => b - a));
    expect(Math.max(...losses), preset).toBe(untrained);
  }
  const large = { activeParameters: 1e9, vocabSize: 32_000 };
  expect(modelledLoss(large, 1e6)).toBe(Math.log(32_000));
  expect(modelledLoss(large, 1e10)).toBeCloseTo(1.69 + 406.4 / 1e9 ** 0.34 + 410.7 / 1e10 ** 0.28, 12);
});
