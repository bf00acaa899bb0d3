/** @file How alike two updates are, and what no bound may be talked out of. */
import { describe, expect, it } from 'vitest';
import { planFragments } from '../../merge/fragment-plan.ts';
import type { ParameterContract } from '../../tensor/contract.ts';
import { flatLayout } from '../../tensor/flat-params.ts';
import { fragmentRanges, likenessOf } from './replay-compare.ts';

const f32 = (...values: number[]): Float32Array => Float32Array.from(values);

describe('likenessOf', () => {
  it('compares what was added to the base', () => {
    const base = f32(10, 10, 10);
    expect(likenessOf(f32(11, 10, 10), f32(12, 10, 10), base)).toMatchObject({ cosine: 1, normRatio: 2 });
    expect(likenessOf(f32(11, 10, 10), f32(9, 10, 10), base)).toMatchObject({ cosine: -1, normRatio: 1 });
    expect(likenessOf(f32(11, 10, 99), f32(11, 10, 10), base, [[0, 2]])).toMatchObject({ cosine: 1, difference: 0 });
  });

  it('takes nothing for something only where both are nothing', () => {
    expect(likenessOf(f32(1, 1), f32(1, 1), f32(1, 1))).toEqual({ cosine: 1, normRatio: 1, difference: 0 });
    expect(likenessOf(f32(1, 1), f32(1, 2), f32(1, 1))).toMatchObject({ cosine: 0, normRatio: 1e9 });
    for (const wild of [Number.NaN, Number.POSITIVE_INFINITY])
      expect(likenessOf(f32(wild, 1), f32(1, 1), null), `${wild}`).toMatchObject({ cosine: 0, normRatio: 1e9 });
  });
});

describe('fragmentRanges', () => {
  it('covers every parameter and selection bias once', () => {
    const contract: ParameterContract = [
      { name: 'a.weight', shape: [40, 13], dtype: 'F32', kind: 'param' },
      { name: 'm.gate.weight', shape: [4, 13], dtype: 'F32', kind: 'param' },
      { name: 'm.gate.expert_bias', shape: [4], dtype: 'F32', kind: 'selection-bias' },
      { name: 'b.weight', shape: [31, 7], dtype: 'F32', kind: 'param' },
    ];
    const plan = planFragments(contract, 3);
    const ranges = fragmentRanges(plan, flatLayout(contract), flatLayout(contract, ['selection-bias']));
    const seen = new Uint8Array(plan.elementCount);
    for (const { params } of ranges) for (const [from, to] of params) for (let i = from; i < to; i++) seen[i]! += 1;
    expect(seen.every((count) => count === 1)).toBe(true);
    expect(ranges.flatMap(({ selectionBiases }) => selectionBiases)).toEqual([[0, 4]]);
  });
});
