/** @file The algebra of claims and take-ins on a small contract. */
import { describe, expect, it } from 'vitest';
import { decodeFragment, encodeFragment } from '../../merge/codecs/fragment-file.ts';
import { planFragments } from '../../merge/fragment-plan.ts';
import { packFragment } from '../../merge/fragment-values.ts';
import type { ParameterContract } from '../../tensor/contract.ts';
import { elementCount } from '../../tensor/contract.ts';
import { Rng } from '../../util/rng.ts';
import { LearnerFragments } from './learner-fragments.ts';

const contract: ParameterContract = [
  { name: 'a.weight', shape: [40, 13], dtype: 'F32', kind: 'param' },
  { name: 'm.gate.weight', shape: [4, 13], dtype: 'F32', kind: 'param' },
  { name: 'm.gate.expert_bias', shape: [4], dtype: 'F32', kind: 'selection-bias' },
  { name: 'b.weight', shape: [31, 7], dtype: 'F32', kind: 'param' },
];
const plan = planFragments(contract, 3);

/** Tensors on a grid of 2^-10, so that all sums here are exact in float32. */
function tensorsOf(seed: number): Map<string, Float32Array> {
  const rng = new Rng(seed);
  return new Map(
    contract.map(({ name, shape }) => [
      name,
      Float32Array.from({ length: elementCount(shape) }, () => (rng.below(2001) - 1000) / 1024),
    ]),
  );
}

function drift(tensors: ReadonlyMap<string, Float32Array>, rng: Rng): void {
  for (const tensor of tensors.values()) for (let i = 0; i < tensor.length; i++) tensor[i]! += rng.below(17) / 1024;
}

const accessOf = (tensors: ReadonlyMap<string, Float32Array>) => (name: string) => tensors.get(name)!;
const snapshot = (tensors: ReadonlyMap<string, Float32Array>) => [...tensors].map(([name, t]) => [name, [...t]]);

describe('LearnerFragments', () => {
  it('is left alone by a merge of its own claim alone (outer rate 1, no momentum)', () => {
    const tensors = tensorsOf(1);
    const access = accessOf(tensors);
    const learner = new LearnerFragments(plan, access, 'f32');
    const rng = new Rng(2);
    const heads = plan.fragments.map((fragment) => packFragment(fragment, access));
    for (let round = 0; round < 9; round++) {
      const id = round % 3;
      const fragment = plan.fragments[id]!;
      drift(tensors, rng);
      const atClaim = packFragment(fragment, access);
      const claim = decodeFragment('f32', fragment, learner.claim(id));
      const params = heads[id]!.params.map((theta, i) => theta - claim.params[i]!);
      expect([...params], `round ${round}`).toEqual([...atClaim.params]);
      drift(tensors, rng);
      const before = snapshot(tensors);
      const selectionBias = heads[id]!.selectionBias.map((bias, i) => bias - claim.selectionBias[i]!);
      learner.takeIn(id, round, { params, selectionBias });
      expect(snapshot(tensors), `round ${round}`).toEqual(before);
      heads[id] = { params, selectionBias };
    }
  });

  it('keeps what it learned since its claim when the merge went elsewhere', () => {
    const tensors = tensorsOf(3);
    const access = accessOf(tensors);
    const learner = new LearnerFragments(plan, access, 'f32');
    const fragment = plan.fragments[0]!;
    const rng = new Rng(4);
    drift(tensors, rng);
    learner.claim(0);
    const atClaim = packFragment(fragment, access);
    drift(tensors, rng);
    const now = packFragment(fragment, access);
    const published = packFragment(fragment, accessOf(tensorsOf(5)));
    learner.takeIn(0, 1, published);
    const after = packFragment(fragment, access);
    const expected = published.params.map((theta, i) => theta + (now.params[i]! - atClaim.params[i]!));
    expect([...after.params]).toEqual([...expected]);
    const progress = decodeFragment('f32', fragment, learner.claim(0)).params;
    expect([...progress]).toEqual([...atClaim.params.map((theta, i) => theta - now.params[i]!)]);
  });

  it('keeps half of what topk left out where it was learned, through a take-in, and adds 0.95 of the other half to the next claim', () => {
    const tensors = tensorsOf(8);
    const access = accessOf(tensors);
    const fragment = plan.fragments[0]!;
    const learner = new LearnerFragments(plan, access, 'topk');
    const start = packFragment(fragment, access);
    drift(tensors, new Rng(9));
    const learned = packFragment(fragment, access);
    const sent = decodeFragment('topk', fragment, learner.claim(0)).params;
    expect(sent.filter((value) => value !== 0)).toHaveLength(
      fragment.slices.reduce((sum, { length }) => sum + Math.ceil(length / 64), 0),
    );
    const left = start.params.map((theta, i) => theta - learned.params[i]! - sent[i]!);
    const published = packFragment(fragment, accessOf(tensorsOf(5)));
    learner.takeIn(0, 1, published);
    packFragment(fragment, access).params.forEach((theta, i) => {
      expect(theta, `element ${i}`).toBeCloseTo(published.params[i]! - 0.5 * left[i]!, 5);
    });
    const next = learner.claim(0);
    const due = left.map((value) => 0.5 * value + 0.95 * 0.5 * value);
    const expected = encodeFragment('topk', fragment, {
      params: due,
      selectionBias: new Float32Array(fragment.selectionBiasCount),
    });
    const again = decodeFragment('topk', fragment, expected.bytes).params;
    decodeFragment('topk', fragment, next).params.forEach((value, i) => {
      expect(value, `element ${i}`).toBeCloseTo(again[i]!, 5);
    });
  });

  it('claims the same in the end through a lossy codec, by its residue', () => {
    const tensors = tensorsOf(6);
    const access = accessOf(tensors);
    const start = packFragment(plan.fragments[1]!, access).params;
    const learner = new LearnerFragments(plan, access, 'int8');
    const rng = new Rng(7);
    const total = new Float64Array(start.length);
    for (let round = 0; round < 20; round++) {
      drift(tensors, rng);
      decodeFragment('int8', plan.fragments[1]!, learner.claim(1)).params.forEach((value, i) => {
        total[i]! += value;
      });
    }
    const end = packFragment(plan.fragments[1]!, access).params;
    // What is missing is one claim's residue: half a scale of at most 2·16/1024/127.
    total.forEach((value, i) => {
      expect(Math.abs(value - (start[i]! - end[i]!)), `element ${i}`).toBeLessThan(2e-4);
    });
  });
});
