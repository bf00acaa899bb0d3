/**
 * @file Config variants: their gradients against differences of the loss, and their cached decoding (which takes other
 * paths: recurrences of one token, gathered experts) against the full forward pass.
 */
import { describe, expect, it } from 'vitest';
import { runReference } from '../../engine/reference.ts';
import { openSession } from '../../engine/session.ts';
import { Rng } from '../../util/rng.ts';
import { buildContract } from './contract.ts';
import { feedParams, feedTokens } from './feeds.ts';
import { openDecoder } from './generate.ts';
import { buildLossGraph } from './graphs.ts';
import { floatsOf, initParams } from './init.ts';
import { presetConfig } from './presets.ts';
import { variants } from './test-support.ts';

describe.each(variants)('%s', (_name, overrides) => {
  const config = presetConfig('tiny', { vocab_size: 64, ...overrides });
  const params = initParams(config, 21);
  const rng = new Rng(4);
  // Away from the initial point, where zeros (biases, adapters) hide what multiplies them.
  for (const { name, kind } of buildContract(config))
    if (kind === 'param')
      floatsOf(params, name).forEach((value, i, all) => void (all[i] = value + 0.05 * rng.normal()));
  const ids = Array.from({ length: 36 }, () => 1 + rng.below(63));
  const shape = [1, 36] as const;
  const positions = ids.map((_, i) => i);
  const tokens = {
    input_ids: feedTokens(ids, shape),
    labels: feedTokens(ids, shape),
    position_ids: feedTokens(positions, shape),
  };

  it('has the gradient that the loss shows, and decodes what it computes', async () => {
    const { graph, gradientNames } = buildLossGraph(config, {
      batch: 1,
      seqLen: 36,
      packed: false,
      gradients: true,
      logits: true,
    });
    const session = await openSession(graph);
    const feeds = { ...feedParams(config, params), ...tokens };
    const results = await session.run(feeds);
    const decoder = await openDecoder(config, params);
    const cached = await decoder.feed(ids);
    await decoder.release();
    const logits = results.logits!.data as Float32Array;
    expect(cached.reduce((max, value, i) => Math.max(max, Math.abs(value - logits[i]!)), 0)).toBeLessThan(1e-4);

    // Along the gradient the loss rises by its norm. Parts apart, so that a small one is not lost in a large one. The
    // loss is the reference's, in float64: steps so small that no token changes its experts or slots.
    const { graph: lossOnly } = buildLossGraph(config, { batch: 1, seqLen: 36, packed: false, gradients: false });
    for (const part of [/_attention\./, /^((?!_attention\.).)*$/]) {
      const names = gradientNames.filter((name) => part.test(name));
      const gradients = names.map((name) => results[`grad:${name}`]!.data as Float32Array);
      const norm = Math.sqrt(gradients.flatMap((g) => [...g]).reduce((sum, value) => sum + value * value, 0));
      const lossAt = (step: number) => {
        const moved = names.map((name, n) => {
          const data = Float64Array.from(
            floatsOf(params, name),
            (value, i) => value + (step * gradients[n]![i]!) / norm,
          );
          return [name, { dtype: 'f64', shape: results[`grad:${name}`]!.shape, data }] as const;
        });
        return runReference(lossOnly, { ...feeds, ...Object.fromEntries(moved) }, { precision: 'f64' }).loss!
          .data[0] as number;
      };
      const slope = (lossAt(1e-7) - lossAt(-1e-7)) / 2e-7;
      expect(Math.abs(slope / norm - 1), String(part)).toBeLessThan(1e-4);
    }
    await session.release();
  });
});
