/** @file The bound of attention scores: reached, never passed, and infinite where nothing bounds them. */
import { describe, expect, it } from 'vitest';
import { floatsOf, initParams } from './init.ts';
import { presetConfig } from './presets.ts';
import { areScoresSmall, scoreBound } from './score-bound.ts';

const config = presetConfig('tiny');

describe('scoreBound', () => {
  it('is the largest score of unit weights, √D, and follows the largest weights of one layer', () => {
    const params = initParams(config, 1);
    expect(scoreBound(config, params)).toBeCloseTo(Math.sqrt(config.head_dim), 6);
    const name = [...params.keys()].find((key) => key.endsWith('.query_layernorm.weight'))!;
    floatsOf(params, name)[3] = -5;
    floatsOf(params, name.replace('query_', 'key_'))[1] = 3;
    expect(scoreBound(config, params)).toBeCloseTo(15 * Math.sqrt(config.head_dim), 6);
    expect(areScoresSmall(config, params)).toBe(false);
  });

  it('is infinite without query-key norm and where a weight is no number', () => {
    const free = presetConfig('tiny', { use_qk_norm: false });
    expect(scoreBound(free, initParams(free, 1))).toBe(Infinity);
    const params = initParams(config, 1);
    const name = [...params.keys()].find((key) => key.endsWith('.query_layernorm.weight'))!;
    floatsOf(params, name)[0] = Number.NaN;
    expect(scoreBound(config, params)).toBe(Infinity);
  });
});
