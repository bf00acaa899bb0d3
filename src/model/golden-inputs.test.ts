/** @file Inputs of a golden case that no graph should see, each refused with the tensor's name. */
import { expect, it } from 'vitest';
import type { TensorBytes } from '../tensor/safetensors.ts';
import { ModelError } from './errors.ts';
import { readInputs, readLogits, type Tensors } from './golden-inputs.ts';
import { presetConfig } from './quasar-long/presets.ts';

const config = presetConfig('tiny', { vocab_size: 8 });

function tensor(values: readonly number[], shape: readonly number[], dtype: 'I32' | 'F32' = 'I32'): TensorBytes {
  const array = dtype === 'I32' ? Int32Array.from(values) : Float32Array.from(values);
  return { dtype, shape, bytes: new Uint8Array(array.buffer) };
}

const ids = [1, 7, 0, 3];
const sound: Tensors = new Map([
  ['input_ids', tensor(ids, [2, 2])],
  ['position_ids', tensor([0, 1, 0, 1], [2, 2])],
  ['labels', tensor([1, -100, 0, 7], [2, 2])],
  ['compare_mask', tensor([1, 1, 1, 0], [2, 2])],
]);

it('reads rows of tokens', () => {
  const { shape, inputIds } = readInputs(sound, config);
  expect([...shape, ...inputIds]).toEqual([2, 2, ...ids]);
});

const faults: [name: string, tensor: TensorBytes | null, says: string][] = [
  ['labels', null, 'labels is missing'],
  ['input_ids', tensor([1, 8, 0, 3], [2, 2]), 'input_ids: number 1 is 8; token ids are from 0 to 7'],
  ['input_ids', tensor(ids, [4]), 'input_ids is [4], expected [rows, tokens]'],
  ['labels', tensor([1, -5, 0, 7], [2, 2]), 'labels: number 1 is -5'],
  ['position_ids', tensor([0, 1, 0, -1], [2, 2]), 'position_ids: number 3 is -1'],
  ['position_ids', tensor([0, 1, 2], [1, 3]), 'position_ids is [1,3], expected [2,2]'],
  ['compare_mask', tensor([1, 1, 1, 0], [2, 2], 'F32'), 'compare_mask: expected I32 or I64, got F32'],
];
it.each(faults)('refuses %s where it is %o', (name, given, says) => {
  const io = new Map(sound);
  if (given) io.set(name, given);
  else io.delete(name);
  expect(() => readInputs(io, config)).toThrow(ModelError);
  expect(() => readInputs(io, config)).toThrow(says);
});

it('refuses logits of another vocabulary', () => {
  const io = new Map(sound).set('logits', tensor(new Array(28).fill(0), [2, 2, 7], 'F32'));
  expect(() => readLogits(io, 'logits', readInputs(io, config), config)).toThrow('logits is [2,2,7], expected [2,2,8]');
});
