/** @file Plans cover every row once, balanced, for the released size, a tiny one and random contracts. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { elementCount, type ParameterContract, type TensorContractEntry } from '../tensor/contract.ts';
import { type FragmentPlan, planFragments, sliceName } from './fragment-plan.ts';

type Kind = TensorContractEntry['kind'];
const tensor = (name: string, shape: number[], kind: Kind = 'param'): TensorContractEntry => ({
  name,
  shape,
  dtype: 'F32',
  kind,
});

/** The shapes that make up almost all of quasar_long, for any width. */
function mixtureContract(options: { V: number; h: number; L: number; E: number; I: number }): ParameterContract {
  const { V, h, L, E, I } = options;
  const layers = Array.from({ length: L }, (_, i) => {
    const prefix = `model.layers.${i}`;
    return [
      tensor(`${prefix}.input_layernorm.weight`, [h]),
      tensor(`${prefix}.attention.query_key_value.weight`, [h * 1.5, h]),
      tensor(`${prefix}.attention.dense.weight`, [h, h]),
      tensor(`${prefix}.attention.replace_alpha_raw`, [1]),
      tensor(`${prefix}.attention.gla_attention.slope`, [4], 'constant'),
      tensor(`${prefix}.mlp.experts_w12`, [E, h, 2 * I]),
      tensor(`${prefix}.mlp.experts_w3`, [E, I, h]),
      tensor(`${prefix}.mlp.gate.weight`, [E, h]),
      tensor(`${prefix}.mlp.gate.expert_bias`, [E], 'selection-bias'),
      tensor(`${prefix}.mlp.shared_experts.gate_proj.weight`, [I, h]),
    ];
  });
  return [
    tensor('model.word_embeddings.weight', [V, h]),
    ...layers.flat(),
    tensor('model.norm.weight', [h]),
    tensor('lm_head.weight', [V, h]),
  ];
}

/** Every row of every param once, none of anything else. */
function expectPartition(contract: ParameterContract, plan: FragmentPlan): void {
  const seen = new Map<string, [number, number][]>();
  for (const fragment of plan.fragments) {
    let offset = 0;
    for (const { name, from, to, length, offset: at } of fragment.slices) {
      expect(at, `${fragment.id} ${name}`).toBe(offset);
      offset += length;
      seen.set(name, [...(seen.get(name) ?? []), [from, to]]);
    }
    expect(fragment.elementCount).toBe(offset);
  }
  for (const { name, shape, kind } of contract) {
    const rows = (seen.get(name) ?? []).sort((a, b) => a[0] - b[0]);
    const ends = rows.map(([, to]) => to);
    if (kind === 'param') {
      expect([0, ...ends.slice(0, -1)], name).toEqual(rows.map(([from]) => from));
      expect(ends.at(-1), name).toBe(shape[0] ?? 1);
    } else expect(rows, name).toEqual([]);
  }
}

describe('planFragments', () => {
  it('balances the 16.55-billion-parameter shapes over 24 fragments', () => {
    const contract = mixtureContract({ V: 157_184, h: 2048, L: 20, E: 256, I: 512 });
    const plan = planFragments(contract, 24);
    const params = contract.filter(({ kind }) => kind === 'param');
    expect(plan.elementCount).toBe(params.reduce((sum, { shape }) => sum + elementCount(shape), 0));
    expect(plan.elementCount).toBeGreaterThan(16e9);
    expect(plan.imbalance).toBeLessThan(0.006);
    expectPartition(contract, plan);
  });

  it('balances a tiny model, whose experts are a large part of a fragment', () => {
    for (const P of [1, 2, 3, 4, 5, 6]) {
      const contract = mixtureContract({ V: 512, h: 32, L: 3, E: 8, I: 32 });
      const plan = planFragments(contract, P);
      expect(plan.imbalance, `P = ${P}`).toBeLessThan(0.02);
      expectPartition(contract, plan);
    }
  });

  it('keeps a selection bias with its router and constants out', () => {
    const plan = planFragments(mixtureContract({ V: 512, h: 32, L: 3, E: 8, I: 32 }), 4);
    const biases = plan.fragments.flatMap((fragment) => fragment.selectionBiases.map((slice) => ({ fragment, slice })));
    expect(biases).toHaveLength(3);
    for (const { fragment, slice } of biases) {
      const router = slice.name.replace('expert_bias', 'weight');
      expect(fragment.slices.some(({ name, from }) => name === router && from === 0)).toBe(true);
      expect(sliceName(slice)).toBe(`${slice.name}[0:8]`);
    }
  });

  it('partitions any contract within what its rows allow', () => {
    const shape = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 0, maxLength: 3 });
    const shapes = fc.array(shape, { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(shapes, fc.integer({ min: 1, max: 6 }), (list, P) => {
        const contract = list.map((dims, i) => tensor(`t${i}`, dims));
        let plan: FragmentPlan;
        try {
          plan = planFragments(contract, P);
        } catch (error) {
          expect(error).toMatchObject({ code: 'TOO_FEW_ROWS' });
          return;
        }
        expectPartition(contract, plan);
        expect(planFragments(contract, P)).toEqual(plan);
        const rowLengths = list.map((dims) => elementCount(dims.slice(1)));
        const mean = plan.elementCount / P;
        expect(plan.imbalance * mean).toBeLessThanOrEqual(Math.max(...rowLengths) * 2 + mean * 0.01 + 1);
      }),
      { seed: 7 },
    );
  });

  it('refuses what cannot be planned', () => {
    const refuse = (contract: ParameterContract, P: number, code: string) =>
      expect(() => planFragments(contract, P)).toThrowError(expect.objectContaining({ code }));
    refuse([tensor('a', [4])], 0, 'BAD_FRAGMENT_COUNT');
    refuse([tensor('a', [4])], 1.5, 'BAD_FRAGMENT_COUNT');
    refuse([tensor('a', [1, 4])], 2, 'TOO_FEW_ROWS');
    refuse([tensor('a', [4]), tensor('a', [4])], 1, 'BAD_CONTRACT');
    refuse([tensor('a', [0])], 1, 'BAD_CONTRACT');
    refuse([tensor('a', [4]), tensor('m.gate.expert_bias', [4], 'selection-bias')], 1, 'ROUTER_MISSING');
  });
});
