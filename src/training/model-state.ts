/**
 * @file One model's numbers in kernel memory: trained parameters, gradients and selection biases as flat buffers, the
 * constants beside them, and the feeds of a session as views of all of them. Nothing is copied to run a graph.
 */
import type { QuasarLongConfig } from '../model/quasar-long/config.ts';
import { buildContract, type TensorSpec } from '../model/quasar-long/contract.ts';
import { initTensor, type Params, type TensorValues } from '../model/quasar-long/init.ts';
import { FlatParams } from '../tensor/flat-params.ts';
import { KernelMemory } from '../tensor/kernels/memory.ts';
import { type TensorView, viewOf } from '../tensor/view.ts';
import { assert } from '../util/errors.ts';

export interface ModelState {
  readonly config: QuasarLongConfig;
  readonly contract: readonly TensorSpec[];
  readonly memory: KernelMemory;
  readonly params: FlatParams;
  /** Same layout as `params`. */
  readonly gradients: FlatParams;
  /** Sums gradients over micro-batches; same layout. Null where none was asked for. */
  readonly accumulator: FlatParams | null;
  readonly biases: FlatParams;
  /** Live views of every tensor of the contract by name. */
  readonly tensors: Params;
  /** `tensors` as a session takes them. */
  readonly feeds: Readonly<Record<string, TensorView>>;
}

export interface ModelStateOptions {
  /** Buffers of the layout of `params` that others will allocate in the same memory (moments, anchors, residues). */
  readonly extraParamBuffers: number;
  readonly extraBytes?: number;
  /** Allocates `accumulator`. */
  readonly accumulates?: boolean;
}

/** Zeroed, but for the constants that the config or `seed` determine; `loadParams` or `initialise` fills the rest. */
export function allocateModel(config: QuasarLongConfig, seed: string, options: ModelStateOptions): ModelState {
  const contract = buildContract(config);
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
  const feeds: Record<string, TensorView> = {};
  for (const spec of contract) {
    const home = params.has(spec.name) ? params : biases.has(spec.name) ? biases : null;
    const data = home === null ? initTensor(config, spec, seed) : home.view(spec.name);
    tensors.set(spec.name, data);
    feeds[spec.name] = viewOf(data, spec.shape);
  }
  return { config, contract, memory, params, gradients, accumulator, biases, tensors, feeds };
}

/** Initial values of a model trained from scratch; the same seed gives the same bits. */
export function initialise(model: ModelState, seed: string): void {
  for (const spec of model.contract)
    if (spec.kind !== 'constant') copyValues(model, spec.name, initTensor(model.config, spec, seed));
}

/** Copies a checkpoint's values in; the names and sizes are those of the contract. */
export function loadParams(model: ModelState, params: Params): void {
  for (const name of model.tensors.keys()) copyValues(model, name, params.get(name));
}

function copyValues({ tensors }: ModelState, name: string, values: TensorValues | undefined): void {
  const home = tensors.get(name)!;
  assert(values?.length === home.length, `${name}: expected ${home.length} numbers, got ${values?.length}`);
  if (home instanceof Float32Array && values instanceof Float32Array) home.set(values);
  else if (home instanceof BigInt64Array && values instanceof BigInt64Array) home.set(values);
  else assert(false, `${name}: float32 and int64 are confused`);
}
