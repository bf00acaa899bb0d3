/**
 * @file Continues token ids with cached decoding. The prompt is read in blocks of 32 tokens and then one by one; the
 * result equals the full forward pass, as keys, values and the branches' states are all carried.
 */
import { openSession, type Session } from '../../engine/session.ts';
import type { TensorView } from '../../tensor/view.ts';
import { Rng } from '../../util/rng.ts';
import { ModelError } from '../errors.ts';
import type { QuasarLongConfig } from './config.ts';
import { buildDecodeGraph } from './decode.ts';
import { feedParams, feedTokens } from './feeds.ts';
import type { Params } from './init.ts';
import { type SamplingOptions, sampleToken } from './sampling.ts';

const blockTokens = 32;

/** One sequence being decoded. Not for use by two callers at once. */
export interface Decoder {
  readonly config: QuasarLongConfig;
  /** Tokens taken in so far. */
  readonly length: number;
  /**
   * Takes tokens in after those before; logits after each of them, (ids, vocab) row-major.
   * @throws ModelError BAD_INPUT for ids outside the vocabulary, or more tokens than max_position_embeddings
   */
  feed(ids: readonly number[]): Promise<Float32Array>;
  /** Forgets the sequence. */
  reset(): void;
  release(): Promise<void>;
}

export async function openDecoder(
  config: QuasarLongConfig,
  params: Params,
  options: { readonly threads?: number } = {},
): Promise<Decoder> {
  const fixed = feedParams(config, params);
  const sessions = new Map<number, Session>();
  const stateShapes = buildDecodeGraph(config, { batch: 1, time: 1 }).states;
  let states = zeroStates(stateShapes);
  let length = 0;

  const sessionFor = async (time: number): Promise<Session> => {
    const known = sessions.get(time);
    if (known) return known;
    const { graph } = buildDecodeGraph(config, { batch: 1, time });
    const session = await openSession(graph, { threads: options.threads ?? 1 });
    sessions.set(time, session);
    return session;
  };
  const step = async (ids: readonly number[]): Promise<Float32Array> => {
    const session = await sessionFor(ids.length);
    const positions = ids.map((_, i) => length + i);
    const tokens = {
      input_ids: feedTokens(ids, [1, ids.length]),
      position_ids: feedTokens(positions, [1, ids.length]),
    };
    const results = await session.run({ ...fixed, ...states, ...tokens });
    states = Object.fromEntries(stateShapes.map(({ name }) => [`state:${name}`, results[`next:${name}`]!]));
    length += ids.length;
    return results.logits!.data as Float32Array;
  };
  return {
    config,
    get length() {
      return length;
    },
    async feed(ids) {
      checkIds(config, ids, length);
      const out = new Float32Array(ids.length * config.vocab_size);
      for (let at = 0; at < ids.length; ) {
        const size = ids.length - at >= blockTokens ? blockTokens : 1;
        out.set(await step(ids.slice(at, at + size)), at * config.vocab_size);
        at += size;
      }
      return out;
    },
    reset() {
      states = zeroStates(stateShapes);
      length = 0;
    },
    async release() {
      for (const session of sessions.values()) await session.release();
      sessions.clear();
    },
  };
}

export interface GenerateOptions extends SamplingOptions {
  readonly maxTokens: number;
  readonly seed: number | string;
  /** Ends before such a token; the config's end-of-text token by default. */
  readonly stopIds?: readonly number[];
  readonly signal?: AbortSignal;
}

/** Yields token ids after `prompt`, which must hold at least one. The same seed gives the same text on one machine. */
export async function* generate(
  decoder: Decoder,
  prompt: readonly number[],
  options: GenerateOptions,
): AsyncGenerator<number, void> {
  if (prompt.length === 0) throw new ModelError('BAD_INPUT', 'the prompt is empty; give at least one token');
  const { vocab_size: vocab, eos_token_id } = decoder.config;
  const stops = new Set(options.stopIds ?? [eos_token_id]);
  const rng = new Rng(options.seed);
  let logits = await decoder.feed(prompt);
  for (let count = 0; count < options.maxTokens; count++) {
    options.signal?.throwIfAborted();
    const id = sampleToken(logits.subarray(logits.length - vocab), options, rng);
    if (stops.has(id)) return;
    yield id;
    if (count + 1 < options.maxTokens) logits = await decoder.feed([id]);
  }
}

function checkIds(
  { vocab_size, max_position_embeddings }: QuasarLongConfig,
  ids: readonly number[],
  before: number,
): void {
  for (const id of ids)
    if (!Number.isInteger(id) || id < 0 || id >= vocab_size)
      throw new ModelError('BAD_INPUT', `token id ${id}: expected an integer from 0 to ${vocab_size - 1}`);
  if (before + ids.length > max_position_embeddings)
    throw new ModelError(
      'BAD_INPUT',
      `${before + ids.length} tokens; the model takes at most ${max_position_embeddings}`,
    );
}

function zeroStates(shapes: ReturnType<typeof buildDecodeGraph>['states']): Record<string, TensorView> {
  const zero = (dims: readonly (number | string)[]): TensorView => {
    const shape = dims.map((dim) => (dim === 'past' ? 0 : Number(dim)));
    return { dtype: 'f32', shape, data: new Float32Array(shape.reduce((product, dim) => product * dim, 1)) };
  };
  return Object.fromEntries(shapes.map(({ name, shape }) => [`state:${name}`, zero(shape)]));
}
