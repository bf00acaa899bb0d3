/** @file Continues token ids: cached decoding of one sequence, and the draw of each next token. */
import { Rng } from '../../util/rng.ts';
import { ModelError } from '../errors.ts';
import type { QuasarLongConfig } from './config.ts';
import { type Decoder, type DecoderOptions, openDecodeModel } from './decode-model.ts';
import type { Params } from './init.ts';
import { type SamplingOptions, sampleToken } from './sampling.ts';

/** A model for one sequence, whose `release` ends it all. `params` must not change while the decoder is open. */
export async function openDecoder(
  config: QuasarLongConfig,
  params: Params,
  options: DecoderOptions = {},
): Promise<Decoder> {
  const model = await openDecodeModel(config, params, options);
  const sequence = model.begin();
  return Object.assign(sequence, { release: () => model.release() });
}

/** A prompt can be left between slices; one is a run of the largest block, so that slices cost nothing. */
export const sliceTokens = 256;

export interface GenerateOptions extends SamplingOptions {
  readonly maxTokens: number;
  readonly seed: number | string;
  /** Ends before such a token; the config's end-of-text token by default, where it has one. */
  readonly stopIds?: readonly number[];
  /** Tokens that the decoder took in before; they count for the repetition penalty. */
  readonly before?: readonly number[];
  readonly signal?: AbortSignal;
  /** Called when the prompt has been read. */
  readonly onPrompt?: () => void;
}

/** Yields token ids after `prompt`, which must hold at least one. The same seed gives the same text on one machine. */
export async function* generate(
  decoder: Decoder,
  prompt: readonly number[],
  options: GenerateOptions,
): AsyncGenerator<number, void> {
  if (prompt.length === 0) throw new ModelError('BAD_INPUT', 'the prompt is empty; give at least one token');
  const { eos_token_id: ending } = decoder.config;
  const stops = new Set(options.stopIds ?? (ending === null ? [] : [ending]));
  const rng = new Rng(options.seed);
  let logits = new Float32Array(0);
  for (let at = 0; at < prompt.length; at += sliceTokens) {
    options.signal?.throwIfAborted();
    logits = (await decoder.feedLast(prompt.slice(at, at + sliceTokens))) as Float32Array<ArrayBuffer>;
  }
  options.onPrompt?.();
  const seen = [...(options.before ?? []), ...prompt];
  for (let count = 0; count < options.maxTokens; count++) {
    options.signal?.throwIfAborted();
    const id = sampleToken(logits, options, rng, seen);
    if (stops.has(id)) return;
    seen.push(id);
    yield id;
    if (count + 1 < options.maxTokens) logits = (await decoder.feedLast([id])) as Float32Array<ArrayBuffer>;
  }
}
