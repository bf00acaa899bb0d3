/**
 * @file The inner optimiser: AdamW with decoupled decay (arXiv:1711.05101) behind a global-norm clip, in WASM SIMD on
 * the flat buffers of kernel memory. Decay applies to matrices only: no norm, gate, gain, bias, A_log or dt_bias
 * (quasar_long, section 13). Its state is the two moments and the count of steps.
 */

import type { FlatEntry, FlatParams } from '../tensor/flat-params.ts';
import { KernelMemory, type Region } from '../tensor/kernels/memory.ts';
import { sumSquaresOf } from '../tensor/kernels/sum-squares.ts';
import { assert } from '../util/errors.ts';

export interface AdamWOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  /** Greatest global norm of a gradient; 0 turns clipping off. */
  readonly clipNorm: number;
  /** Factors on decay and learning rate of one tensor. Default: matrices decay, all learn at the same rate. */
  readonly traitsOf?: (entry: FlatEntry) => TensorTraits;
}

export interface TensorTraits {
  readonly decay: number;
  readonly learningRate: number;
}

export const defaultTraits = ({ shape }: FlatEntry): TensorTraits => ({
  decay: shape.length >= 2 ? 1 : 0,
  learningRate: 1,
});

/** Traits from a model's contract, whose specs say which tensors decay. */
export function traitsFromContract(
  contract: readonly { readonly name: string; readonly decay: boolean }[],
): (entry: FlatEntry) => TensorTraits {
  const decays = new Map(contract.map(({ name, decay }) => [name, decay]));
  return ({ name }) => ({ decay: decays.get(name) === true ? 1 : 0, learningRate: 1 });
}

interface Run extends TensorTraits {
  readonly offset: number;
  readonly length: number;
}

const lanesBytes = 128;

export class AdamW {
  readonly #memory: KernelMemory;
  readonly #params: Region;
  readonly #gradients: Region;
  readonly #first: Region;
  readonly #second: Region;
  readonly #lanes: Region;
  readonly #options: AdamWOptions;
  /** Neighbouring tensors of the same traits in one call. */
  readonly #runs: readonly Run[];
  #stepCount = 0;
  #beta1Power = 1;
  #beta2Power = 1;

  /** Allocates two buffers of the layout of `params` in its memory. @throws KernelMemoryError KERNEL_MEMORY_FULL */
  constructor(params: FlatParams, gradients: FlatParams, options: AdamWOptions) {
    assert(params.memory === gradients.memory, 'parameters and gradients lie in different memories');
    assert(params.length === gradients.length, 'parameters and gradients differ in length');
    this.#memory = params.memory;
    this.#params = params.region;
    this.#gradients = gradients.region;
    this.#first = this.#memory.allocateF32(params.length);
    this.#second = this.#memory.allocateF32(params.length);
    this.#lanes = this.#memory.allocate(lanesBytes);
    this.#options = options;
    this.#runs = joinRuns(params.entries, options.traitsOf ?? defaultTraits);
  }

  /** Kernel memory that an optimiser of `params` allocates. */
  static footprint(params: FlatParams): number {
    return 2 * KernelMemory.footprint(4 * params.length) + lanesBytes;
  }

  /** Steps taken since the moments were zero. */
  get stepCount(): number {
    return this.#stepCount;
  }

  /** Live views of the first and second moments, in the layout of the parameters. */
  moments(): { readonly first: Float32Array; readonly second: Float32Array } {
    return { first: this.#memory.f32(this.#first), second: this.#memory.f32(this.#second) };
  }

  /** Puts a saved state back: fill `moments()` and say how many steps they have seen. */
  restore(stepCount: number, moments: { readonly first: Float32Array; readonly second: Float32Array }): void {
    const live = this.moments();
    assert(
      moments.first.length === live.first.length && moments.second.length === live.second.length,
      'moments differ in length',
    );
    live.first.set(moments.first);
    live.second.set(moments.second);
    this.#stepCount = 0;
    this.#beta1Power = 1;
    this.#beta2Power = 1;
    // The same products as when the steps were taken, so that a resumed run goes on with the same bits.
    while (this.#stepCount < stepCount) this.#count();
  }

  /** Descends the gradients. Returns their norm before clipping; if it is not finite, nothing has changed. */
  step(learningRate: number): number {
    const { beta1, beta2, epsilon, weightDecay, clipNorm } = this.#options;
    const gradNorm = Math.sqrt(sumSquaresOf(this.#memory, this.#gradients, this.#lanes));
    if (!Number.isFinite(gradNorm)) return gradNorm;
    this.#count();
    const scale = clipNorm > 0 && gradNorm > clipNorm ? clipNorm / gradNorm : 1;
    const correction1 = 1 / (1 - this.#beta1Power);
    const inv2 = 1 / (1 - this.#beta2Power);
    for (const { offset, length, decay, learningRate: factor } of this.#runs) {
      const rate = learningRate * factor;
      const at = 4 * offset;
      this.#memory.kernels.adamw(
        this.#params.byteOffset + at,
        this.#gradients.byteOffset + at,
        this.#first.byteOffset + at,
        this.#second.byteOffset + at,
        length,
        scale,
        beta1,
        1 - beta1,
        beta2,
        1 - beta2,
        1 - rate * weightDecay * decay,
        rate * correction1,
        inv2,
        epsilon,
      );
    }
    return gradNorm;
  }

  #count(): void {
    this.#stepCount += 1;
    this.#beta1Power *= this.#options.beta1;
    this.#beta2Power *= this.#options.beta2;
  }
}

function joinRuns(entries: readonly FlatEntry[], traitsOf: (entry: FlatEntry) => TensorTraits): readonly Run[] {
  const runs: Run[] = [];
  for (const entry of entries) {
    const { decay, learningRate } = traitsOf(entry);
    const last = runs.at(-1);
    if (last && last.decay === decay && last.learningRate === learningRate)
      runs[runs.length - 1] = { ...last, length: last.length + entry.length };
    else runs.push({ offset: entry.offset, length: entry.length, decay, learningRate });
  }
  return runs;
}
