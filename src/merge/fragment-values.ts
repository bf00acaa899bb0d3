/** @file The numbers of one fragment, packed: gathered from whole tensors and scattered back. Copies only. */
import { MergeError } from './errors.ts';
import type { Fragment, TensorSlice } from './fragment-plan.ts';

/** Slices one after another in the plan's order; selection biases apart, since no norm, codec or momentum touches them. */
export interface FragmentValues {
  readonly params: Float32Array;
  readonly selectionBias: Float32Array;
}

/** A whole tensor by name, row-major; a live view where it is to be written. */
export type TensorAccess = (name: string) => Float32Array;

export function emptyFragment(fragment: Fragment): FragmentValues {
  return {
    params: new Float32Array(fragment.elementCount),
    selectionBias: new Float32Array(fragment.selectionBiasCount),
  };
}

/** @throws MergeError WRONG_LENGTH if the arrays do not have the fragment's lengths */
export function checkFragmentValues(fragment: Fragment, values: FragmentValues): void {
  checkLength(`params of fragment ${fragment.id}`, values.params, fragment.elementCount);
  checkLength(`selection bias of fragment ${fragment.id}`, values.selectionBias, fragment.selectionBiasCount);
}

export function checkLength(what: string, array: Float32Array, length: number): void {
  if (array.length !== length)
    throw new MergeError('WRONG_LENGTH', `${what}: expected ${length} elements, got ${array.length}`);
}

/** Gathers a fragment. @throws MergeError WRONG_LENGTH if a tensor is shorter than its slice needs */
export function packFragment(
  fragment: Fragment,
  readTensor: TensorAccess,
  into: FragmentValues = emptyFragment(fragment),
): FragmentValues {
  checkFragmentValues(fragment, into);
  for (const slice of fragment.slices) into.params.set(rowsOf(slice, readTensor), slice.offset);
  for (const slice of fragment.selectionBiases) into.selectionBias.set(rowsOf(slice, readTensor), slice.offset);
  return into;
}

/** Scatters a fragment into whole tensors. */
export function unpackFragment(fragment: Fragment, values: FragmentValues, writeTensor: TensorAccess): void {
  checkFragmentValues(fragment, values);
  const scatter = (slices: readonly TensorSlice[], packed: Float32Array): void => {
    for (const slice of slices)
      rowsOf(slice, writeTensor).set(packed.subarray(slice.offset, slice.offset + slice.length));
  };
  scatter(fragment.slices, values.params);
  scatter(fragment.selectionBiases, values.selectionBias);
}

function rowsOf({ name, tensorOffset, length }: TensorSlice, access: TensorAccess): Float32Array {
  const tensor = access(name);
  const rows = tensor.subarray(tensorOffset, tensorOffset + length);
  checkLength(name, rows, length);
  return rows;
}
