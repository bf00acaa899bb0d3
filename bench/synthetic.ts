/** @file Fragments and pseudo-gradients of a given size, seeded. */
import { type Fragment, planFragments } from '../src/merge/fragment-plan.ts';
import type { FragmentValues } from '../src/merge/fragment-values.ts';
import { Rng } from '../src/util/rng.ts';

/** One fragment of a single matrix. */
export function syntheticFragment(elements: number): Fragment {
  const shape = [elements / 1024, 1024];
  return planFragments([{ name: 'matrix', shape, dtype: 'F32', kind: 'param' }], 1).fragments[0]!;
}

export function syntheticValues(elements: number, seed: number): FragmentValues {
  const rng = new Rng(seed);
  const params = new Float32Array(elements);
  for (let i = 0; i < elements; i++) params[i] = (rng.uint32() / 2 ** 32 - 0.5) * 1e-2;
  return { params, selectionBias: new Float32Array(0) };
}
