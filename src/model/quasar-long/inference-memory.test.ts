/** @file Memory at a context length, against the figures of the specification's section 15. */
import { describe, expect, it } from 'vitest';
import { sizeOfShape } from '../../tensor/shape.ts';
import { buildDecodeGraph } from './decode.ts';
import { inferenceMemory } from './inference-memory.ts';
import { presetConfig } from './presets.ts';

const mebi = 2 ** 20;

describe('inferenceMemory', () => {
  it('is what the specification says of the released model', () => {
    const memory = inferenceMemory(presetConfig('quasar-preview'), 5_000_000);
    expect(memory.cacheBytesPerToken).toBe(40 * 1024);
    expect(memory.cacheBytes / 1e9).toBeCloseTo(204.8, 6);
    expect(memory.stateBytes).toEqual({ quasar: 10 * mebi, raven: 3 * mebi, gla: 3 * mebi });
    expect(memory.frameBytes).toBe(0);
    expect(memory.totalBytes).toBe(memory.cacheBytes + 16 * mebi);
  });

  it('is what the decoding graph carries, in every variant', () => {
    const variants = [
      {},
      { num_loops: 3, use_looped_injection: true },
      { hybrid_branch_layout: 'mixed', hybrid_use_short_conv: true },
      { engram_layers: [0, 2], engram_slots: 64, engram_dim: 32 },
      { hybrid_replacement_mode: 'full' },
    ];
    for (const variant of variants) {
      const config = presetConfig('tiny', variant);
      const { states, caches } = buildDecodeGraph(config, { time: 1 });
      const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0);
      const memory = inferenceMemory(config, 100);
      const name = JSON.stringify(variant);
      expect(2 * 100 * sum(caches.map(({ parts, width }) => parts * width)), name).toBe(memory.cacheBytes);
      expect(4 * sum(states.map(({ shape }) => sizeOfShape(shape))), name).toBe(memory.totalBytes - memory.cacheBytes);
    }
  });
});
