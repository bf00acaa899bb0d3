/** @file What io.safetensors of a golden case holds, checked before a graph sees it. */
import { asFloat32, asInt32, SafetensorsError, type TensorBytes } from '../tensor/safetensors.ts';
import { ModelError } from './errors.ts';
import type { QuasarLongConfig } from './quasar-long/config.ts';
import { ignoredLabel } from './quasar-long/graphs.ts';

export type Tensors = ReadonlyMap<string, TensorBytes>;

/** Row-major, (batch, time) each. */
export interface GoldenInputs {
  readonly shape: readonly [batch: number, time: number];
  readonly inputIds: Int32Array;
  readonly positionIds: Int32Array;
  /** Token ids, or -100. */
  readonly labels: Int32Array;
  /** Logits count where it is not 0. */
  readonly compareMask: Int32Array;
}

/** @throws ModelError CHECKPOINT_MISMATCH (name, shape, dtype), BAD_INPUT (an id that is none) */
export function readInputs(io: Tensors, { vocab_size: vocab }: QuasarLongConfig): GoldenInputs {
  const shape = tensorOf(io, 'input_ids').shape;
  if (shape.length !== 2 || shape.includes(0)) throw mismatch(`input_ids is [${shape}], expected [rows, tokens]`);
  const read = (name: string, rule: string, isValid: (value: number) => boolean): Int32Array => {
    const tensor = tensorOf(io, name);
    checkShape(name, tensor, shape);
    const values = explained(name, () => asInt32(tensor));
    const fault = values.findIndex((value) => !isValid(value));
    if (fault !== -1)
      throw new ModelError('BAD_INPUT', `io.safetensors: ${name}: number ${fault} is ${values[fault]}; ${rule}`);
    return values;
  };
  const isId = (value: number) => value >= 0 && value < vocab;
  return {
    shape: shape as unknown as readonly [number, number],
    inputIds: read('input_ids', `token ids are from 0 to ${vocab - 1}`, isId),
    positionIds: read('position_ids', 'positions are not negative', (value) => value >= 0),
    labels: read(
      'labels',
      `labels are token ids from 0 to ${vocab - 1}, or ${ignoredLabel}`,
      (value) => value === ignoredLabel || isId(value),
    ),
    compareMask: read('compare_mask', 'it is 0 or 1', (value) => value === 0 || value === 1),
  };
}

/** Logits (batch, time, vocab). @throws ModelError CHECKPOINT_MISMATCH */
export function readLogits(
  io: Tensors,
  name: string,
  { shape }: GoldenInputs,
  { vocab_size: vocab }: QuasarLongConfig,
): Float32Array {
  const tensor = tensorOf(io, name);
  checkShape(name, tensor, [...shape, vocab]);
  return explained(name, () => asFloat32(tensor));
}

function checkShape(name: string, tensor: TensorBytes, shape: readonly number[]): void {
  if (tensor.shape.join() !== shape.join()) throw mismatch(`${name} is [${tensor.shape}], expected [${shape}]`);
}

function tensorOf(io: Tensors, name: string): TensorBytes {
  const tensor = io.get(name);
  if (!tensor) throw mismatch(`${name} is missing`);
  return tensor;
}

function explained<T>(name: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof SafetensorsError) throw mismatch(`${name}: ${cause.message}`, cause);
    throw cause;
  }
}

const mismatch = (message: string, cause?: unknown) =>
  new ModelError('CHECKPOINT_MISMATCH', `io.safetensors: ${message}`, { cause });
