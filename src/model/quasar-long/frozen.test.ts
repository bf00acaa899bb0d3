/** @file Patterns name what they say, in bounded time; what is frozen leaves the contract of what training changes. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { planFragments } from '../../merge/fragment-plan.ts';
import { namePatternSchema } from '../../protocol/manifest.ts';
import { buildContract } from './contract.ts';
import { freezeContract, frozenNames, matchesPattern } from './frozen.ts';
import { presetConfig } from './presets.ts';

const contract = buildContract(presetConfig('tiny'));

describe('matchesPattern', () => {
  it('takes * for any text, dots included, and all else for itself', () => {
    const cases: [string, string, boolean][] = [
      ['a.b', 'a.b', true],
      ['a.b', 'a', false],
      ['a.b', 'axb', false],
      ['a.b.c', 'a.*', true],
      ['a.b.c', '*.c', true],
      ['a.b.c', 'a*b*c', true],
      ['a.b.c', 'a.*.b.c', false],
      ['aba', 'ab*ba', false],
      ['abcabc', '*abc', true],
      ['abc', '*', true],
      ['abc', 'abc*', true],
    ];
    for (const [name, pattern, isMatch] of cases)
      expect(matchesPattern(name, pattern), `${name} ${pattern}`).toBe(isMatch);
  });

  it('agrees with a regular expression', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '.'), maxLength: 8 });
    const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '.', '*'), minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(text, pattern, (name, glob) => {
        const expected = new RegExp(`^${glob.replaceAll('.', '\\.').replaceAll('*', '.*')}$`).test(name);
        expect(matchesPattern(name, glob)).toBe(expected);
      }),
    );
  });

  it('is given patterns of a bounded form only', () => {
    for (const good of ['lm_head.weight', '*.A_log', 'model.layers.0.*'])
      expect(namePatternSchema.safeParse(good).success, good).toBe(true);
    for (const bad of ['', 'a/b', '(a+)+', 'a'.repeat(201), '*a'.repeat(9)])
      expect(namePatternSchema.safeParse(bad).success, bad).toBe(false);
  });
});

describe('freezeContract', () => {
  it('leaves out of the fragments what the released runs froze', () => {
    const patterns = ['*.quasar_attention.A_log', '*.quasar_attention.dt_bias', '*.f_proj.weight'];
    const frozen = freezeContract(contract, patterns);
    const names = frozenNames(frozen);
    expect(names.size).toBeGreaterThanOrEqual(3);
    for (const name of names) expect(name).toMatch(/quasar_attention\.(A_log|dt_bias|f_proj\.weight)$/);
    const slices = planFragments(frozen, 4).fragments.flatMap((fragment) => fragment.slices);
    expect(slices.filter(({ name }) => names.has(name))).toEqual([]);
    expect(new Set(slices.map(({ name }) => name))).toEqual(
      new Set(contract.flatMap(({ name, kind }) => (kind === 'param' && !names.has(name) ? [name] : []))),
    );
    expect(frozen.map(({ name, shape }) => ({ name, shape }))).toEqual(
      contract.map(({ name, shape }) => ({ name, shape })),
    );
  });

  it('is the same contract without patterns, and takes a whole layer with its selection bias', () => {
    expect(freezeContract(contract)).toBe(contract);
    const layer = freezeContract(contract, ['model.layers.1.*']).filter(({ name }) =>
      name.startsWith('model.layers.1.'),
    );
    const trained = layer.filter(({ kind }) => kind === 'param' || kind === 'selection-bias');
    expect(trained).toEqual([]);
    expect(planFragments(freezeContract(contract, ['model.layers.1.*']), 2).fragments).toHaveLength(2);
  });

  it('refuses a pattern that names nothing, and patterns that leave nothing', () => {
    const refusals: [string[], RegExp][] = [
      [['*.A_log', 'model.layers.99.*'], /model\.layers\.99\.\* names no parameter/],
      [['model.rotary_emb.inv_freq'], /names no parameter/],
      [['*'], /leave nothing to train/],
      [['model.*', 'lm_head.*'], /leave nothing to train/],
    ];
    for (const [patterns, message] of refusals) expect(() => freezeContract(contract, patterns)).toThrow(message);
  });
});
