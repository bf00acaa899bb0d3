/** @file Draws the tokens of one sequence: biases and penalties of a request, then the model's own sampling, from a seed. */
import { type SamplingOptions, sampleToken } from '../model/quasar-long/sampling.ts';
import { Rng } from '../util/rng.ts';

export interface SamplerOptions extends SamplingOptions {
  readonly seed: number | string;
  /** Taken from the logit of each token for each time that it was drawn. */
  readonly frequencyPenalty?: number;
  /** Taken once from the logit of each token that was drawn. */
  readonly presencePenalty?: number;
  /** Added to logits. */
  readonly bias?: ReadonlyMap<number, number>;
}

export class Sampler {
  readonly #options: SamplerOptions;
  readonly #rng: Rng;
  readonly #seen: number[];
  readonly #counts = new Map<number, number>();

  /** `prompt` counts for the repetition penalty alone. */
  constructor(options: SamplerOptions, prompt: readonly number[]) {
    this.#options = options;
    this.#rng = new Rng(options.seed);
    this.#seen = (options.repetitionPenalty ?? 1) === 1 ? [] : [...prompt];
  }

  draw(logits: Float32Array): number {
    const id = sampleToken(this.#adjusted(logits), this.#options, this.#rng, this.#seen);
    if ((this.#options.repetitionPenalty ?? 1) !== 1) this.#seen.push(id);
    this.#counts.set(id, (this.#counts.get(id) ?? 0) + 1);
    return id;
  }

  #adjusted(given: Float32Array): Float32Array {
    const { frequencyPenalty = 0, presencePenalty = 0, bias } = this.#options;
    const hasBias = bias !== undefined && bias.size > 0;
    if (frequencyPenalty === 0 && presencePenalty === 0 && !hasBias) return given;
    const logits = Float32Array.from(given);
    for (const [id, count] of this.#counts) logits[id]! -= count * frequencyPenalty + presencePenalty;
    for (const [id, value] of bias ?? []) if (id < logits.length) logits[id]! += value;
    return logits;
  }
}
