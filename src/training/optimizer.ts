/**
 * @file The inner optimiser: AdamW with decoupled decay (arXiv:1711.05101) behind a global-norm clip, in WASM SIMD on
 * the flat buffers of kernel memory. Decay applies to matrices only: no norm, gate, gain, bias, A_log or dt_bias
 * (quasar_long, section 13). Its state is the two moments and the count of steps.
 */

import type { FlatEntry, FlatParams } from '../tensor/flat-params.ts';
import { KernelMemory, type Region } from '../tensor/kernels/memory.ts';
import { sumSquaresOf } from '../tensor/kernels/sum-squares.ts';
import { assert } from '../util/errors.ts';

/** What changes the parameters: clips the gradients to a global norm and descends them. */
export interface InnerOptimizer {
  /** Returns the gradient's norm before clipping; a norm that is not finite changes nothing. */
  step(learningRate: number): number | Promise<number>;
  /** Steps taken since the state was zero. */
  readonly stepCount: number;
  /** Live views of all that the optimiser remembers beside the count: the same buffers in the same order always. */
  state(): readonly Float32Array[];
  /** Puts a saved count and state back; the next steps give the bits that they would have given without the stop. */
  restore(stepCount: number, state: readonly Float32Array[]): void;
  /** Gives back what is not kernel memory. */
  close(): Promise<void>;
}

export interface AdamWOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  /** Greatest global norm of a gradient; 0 turns clipping off. */
  readonly clipNorm: number;
  /** Factors on decay and learning rate of one tensor; null: left alone. Default: matrices decay, all learn at one rate. */
  readonly traitsOf?: (entry: FlatEntry) => TensorTraits | null;
}

export interface TensorTraits {
  readonly decay: number;
  readonly learningRate: number;
}

export const defaultTraits = ({ shape }: FlatEntry): TensorTraits => ({
  decay: shape.length >= 2 ? 1 : 0,
  learningRate: 1,
});

/** Traits from a model's contract, whose specs say which tensors decay; Engram's tables have a rate of their own. */
export function traitsFromContract(
  contract: readonly { readonly name: string; readonly decay: boolean }[],
  engramRate = 1,
): (entry: FlatEntry) => TensorTraits {
  const decays = new Map(contract.map(({ name, decay }) => [name, decay]));
  return ({ name }) => ({
    decay: decays.get(name) === true ? 1 : 0,
    learningRate: name.endsWith('.engram.embed_tables') ? engramRate : 1,
  });
}

/** What a gradient of norm `gradNorm` is multiplied by; a `clipNorm` of 0 never clips. */
export const clipScale = (gradNorm: number, clipNorm: number): number =>
  clipNorm > 0 && gradNorm > clipNorm ? clipNorm / gradNorm : 1;

interface Run extends TensorTraits {
  readonly offset: number;
  readonly length: number;
}

const lanesBytes = 128;

export class AdamW implements InnerOptimizer {
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
  static footprint(params: Pick<FlatParams, 'length'>): number {
    return 2 * KernelMemory.footprint(4 * params.length) + lanesBytes;
  }

  /** Steps taken since the moments were zero. */
  get stepCount(): number {
    return this.#stepCount;
  }

  /** Where the first moments lie, in the layout of the parameters. */
  get firstMoments(): Region {
    return this.#first;
  }

  /** First and second moments, in the layout of the parameters. */
  state(): readonly [Float32Array, Float32Array] {
    return [this.#memory.f32(this.#first), this.#memory.f32(this.#second)];
  }

  restore(stepCount: number, state: readonly Float32Array[]): void {
    const live = this.state();
    assert(
      state.length === live.length && live.every(({ length }, i) => state[i]!.length === length),
      'saved moments differ in length',
    );
    live.forEach((buffer, i) => {
      buffer.set(state[i]!);
    });
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
    const scale = clipScale(gradNorm, clipNorm);
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

  async close(): Promise<void> {}

  #count(): void {
    this.#stepCount += 1;
    this.#beta1Power *= this.#options.beta1;
    this.#beta2Power *= this.#options.beta2;
  }
}

function joinRuns(entries: readonly FlatEntry[], traitsOf: (entry: FlatEntry) => TensorTraits | null): readonly Run[] {
  const runs: Run[] = [];
  for (const entry of entries) {
    const traits = traitsOf(entry);
    if (traits === null) continue;
    const { decay, learningRate } = traits;
    const last = runs.at(-1);
    const isNext = last !== undefined && last.offset + last.length === entry.offset;
    if (isNext && last.decay === decay && last.learningRate === learningRate)
      runs[runs.length - 1] = { ...last, length: last.length + entry.length };
    else runs.push({ offset: entry.offset, length: entry.length, decay, learningRate });
  }
  return runs;
}
