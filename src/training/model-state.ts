/**
 * @file One model's numbers: trained parameters, gradients and selection biases as flat buffers in kernel memory, constants
 * and frozen tensors beside them, and the feeds of a session as views of all of them. To run a graph, nothing is copied
 * but frozen tensors that are stored as bfloat16.
 */
import type { QuasarLongConfig } from '../model/quasar-long/config.ts';
import { buildContract, type TensorSpec } from '../model/quasar-long/contract.ts';
import { freezeContract } from '../model/quasar-long/frozen.ts';
import { initTensor, type Params, type TensorValues } from '../model/quasar-long/init.ts';
import type { Frozen } from '../protocol/manifest.ts';
import { FlatParams } from '../tensor/flat-params.ts';
import { KernelMemory } from '../tensor/kernels/memory.ts';
import { type TensorView, viewOf } from '../tensor/view.ts';
import { assert } from '../util/errors.ts';
import { FrozenTensors } from './frozen-tensors.ts';

export interface ModelState {
  readonly config: QuasarLongConfig;
  /** Of what training changes: frozen tensors are of kind `frozen`. */
  readonly contract: readonly TensorSpec[];
  readonly memory: KernelMemory;
  readonly params: FlatParams;
  /** Same layout as `params`. */
  readonly gradients: FlatParams;
  /** Sums gradients over micro-batches; same layout. Null where none was asked for. */
  readonly accumulator: FlatParams | null;
  readonly biases: FlatParams;
  /** Live views of every tensor of the contract that is not frozen, by name. */
  readonly tensors: Params;
  readonly frozen: FrozenTensors;
}

export interface ModelStateOptions {
  /** Buffers of the layout of `params` that others will allocate in the same memory (moments, anchors, residues). */
  readonly extraParamBuffers: number;
  readonly extraBytes?: number;
  /** Allocates `accumulator`. */
  readonly accumulates?: boolean;
  /** Of the run's recipe; absent: everything is trained. */
  readonly frozen?: Frozen | undefined;
}

/**
 * Zeroed, but for the constants that the config or `seed` determine; `loadParams` or `initialise` fills the rest.
 * @throws ModelError BAD_FROZEN
 */
export function allocateModel(config: QuasarLongConfig, seed: string, options: ModelStateOptions): ModelState {
  const contract = freezeContract(buildContract(config), options.frozen?.tensors);
  const paramBytes = FlatParams.footprint(contract);
  const biasBytes = FlatParams.footprint(contract, ['selection-bias']);
  const scratchBytes = 1 << 16;
  const memory = new KernelMemory(
    (2 + options.extraParamBuffers + (options.accumulates ? 1 : 0)) * paramBytes +
      biasBytes +
      (options.extraBytes ?? 0) +
      scratchBytes,
  );
  const params = new FlatParams(memory, contract);
  const gradients = new FlatParams(memory, contract);
  const accumulator = options.accumulates ? new FlatParams(memory, contract) : null;
  const biases = new FlatParams(memory, contract, ['selection-bias']);
  const tensors = new Map<string, TensorValues>();
  const frozen = new FrozenTensors(contract, options.frozen?.dtype ?? 'f32');
  for (const spec of contract) {
    if (spec.kind === 'frozen') continue;
    const home = params.has(spec.name) ? params : biases.has(spec.name) ? biases : null;
    tensors.set(spec.name, home === null ? initTensor(config, spec, seed) : home.view(spec.name));
  }
  return { config, contract, memory, params, gradients, accumulator, biases, tensors, frozen };
}

/** Every tensor of the contract as float32 (or int64); live, but for copies of frozen ones that are stored as bfloat16. */
export function wholeParams({ tensors, frozen }: ModelState): Params {
  if (frozen.stored.size === 0) return tensors;
  const whole = new Map(tensors);
  for (const [{ name }, values] of frozen.widened()) whole.set(name, values);
  return whole;
}

/** `wholeParams` as a session takes them; good for one run after another as long as nothing is loaded. */
export function feedsOf(model: ModelState): Record<string, TensorView> {
  const whole = wholeParams(model);
  return Object.fromEntries(model.contract.map(({ name, shape }) => [name, viewOf(whole.get(name)!, shape)]));
}

/** Initial values of a model trained from scratch; the same seed gives the same bits. */
export function initialise(model: ModelState, seed: string): void {
  for (const spec of model.contract)
    if (spec.kind !== 'constant') copyValues(model, spec.name, initTensor(model.config, spec, seed));
}

/** Copies a checkpoint's values in; the names and sizes are those of the contract. */
export function loadParams(model: ModelState, params: Params): void {
  for (const { name } of model.contract) copyValues(model, name, params.get(name));
}

function copyValues({ tensors, frozen }: ModelState, name: string, values: TensorValues | undefined): void {
  if (frozen.has(name)) {
    assert(values instanceof Float32Array, `${name}: a frozen tensor is float32`);
    frozen.set(name, values);
    return;
  }
  const home = tensors.get(name)!;
  assert(values?.length === home.length, `${name}: expected ${home.length} numbers, got ${values?.length}`);
  if (home instanceof Float32Array && values instanceof Float32Array) home.set(values);
  else if (home instanceof BigInt64Array && values instanceof BigInt64Array) home.set(values);
  else assert(false, `${name}: float32 and int64 are confused`);
}
