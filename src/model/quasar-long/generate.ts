/**
 * @file Continues token ids with cached decoding. The prompt is read in blocks, the large ones first; the result equals
 * the full forward pass, as keys, values and the branches' states are all carried.
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

/** Tokens of a run, the largest that fits: few sizes, as each has a graph of its own. */
const blockSizes = [256, 32, 8, 1];
/** Scores that one run may hold for each layer: a long past is read in smaller blocks. */
const maxScores = 2 ** 26;
/** Positions are exact in float32 up to here, and a cache of this length fills any machine. */
const maxTokens = 2 ** 24;

/** One sequence being decoded. Not for use by two callers at once. */
export interface Decoder {
  readonly config: QuasarLongConfig;
  /** Tokens taken in so far. */
  readonly length: number;
  /**
   * Takes tokens in after those before; logits after each of them, (ids, vocab) row-major.
   * @throws ModelError BAD_INPUT for ids outside the vocabulary, or more than 2^24 tokens
   */
  feed(ids: readonly number[]): Promise<Float32Array>;
  /** The same, with the logits after the last token alone, (vocab). `ids` must not be empty. */
  feedLast(ids: readonly number[]): Promise<Float32Array>;
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
  const sessions = new Map<string, Session>();
  const stateShapes = buildDecodeGraph(config, { batch: 1, time: 1 }).states;
  let states = zeroStates(stateShapes);
  let length = 0;

  const sessionFor = async (time: number, lastOnly: boolean): Promise<Session> => {
    const key = `${time} ${lastOnly}`;
    const known = sessions.get(key);
    if (known) return known;
    const { graph } = buildDecodeGraph(config, { batch: 1, time, lastOnly });
    const session = await openSession(graph, { threads: options.threads ?? 1 });
    sessions.set(key, session);
    return session;
  };
  const step = async (ids: readonly number[], lastOnly: boolean): Promise<Float32Array> => {
    const session = await sessionFor(ids.length, lastOnly || ids.length === 1);
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
  /** The ids in blocks, and their logits as they come. */
  const read = async (ids: readonly number[], lastOnly: boolean, take: (logits: Float32Array) => void) => {
    checkIds(config, ids, length);
    for (let at = 0; at < ids.length; ) {
      const fits = (size: number) =>
        size <= ids.length - at && size * (length + size) * config.num_attention_heads <= maxScores;
      const size = blockSizes.find(fits) ?? 1;
      take(await step(ids.slice(at, at + size), lastOnly));
      at += size;
    }
  };
  return {
    config,
    get length() {
      return length;
    },
    async feed(ids) {
      const out = new Float32Array(ids.length * config.vocab_size);
      let at = 0;
      await read(ids, false, (logits) => {
        out.set(logits, at);
        at += logits.length;
      });
      return out;
    },
    async feedLast(ids) {
      if (ids.length === 0) throw new ModelError('BAD_INPUT', 'no tokens to read; give at least one');
      let last = new Float32Array(0);
      await read(ids, true, (logits) => void (last = logits as Float32Array<ArrayBuffer>));
      return last;
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
  const stops = new Set(options.stopIds ?? [decoder.config.eos_token_id]);
  const rng = new Rng(options.seed);
  let logits = await decoder.feedLast(prompt);
  options.onPrompt?.();
  const seen = [...prompt];
  for (let count = 0; count < options.maxTokens; count++) {
    options.signal?.throwIfAborted();
    const id = sampleToken(logits, options, rng, seen);
    if (stops.has(id)) return;
    seen.push(id);
    yield id;
    if (count + 1 < options.maxTokens) logits = await decoder.feedLast([id]);
  }
}

function checkIds({ vocab_size }: QuasarLongConfig, ids: readonly number[], before: number): void {
  for (const id of ids)
    if (!Number.isInteger(id) || id < 0 || id >= vocab_size)
      throw new ModelError('BAD_INPUT', `token id ${id}: expected an integer from 0 to ${vocab_size - 1}`);
  if (before + ids.length > maxTokens)
    throw new ModelError('BAD_INPUT', `${before + ids.length} tokens; a sequence has at most ${maxTokens}`);
}

function zeroStates(shapes: ReturnType<typeof buildDecodeGraph>['states']): Record<string, TensorView> {
  const zero = (dims: readonly (number | string)[]): TensorView => {
    const shape = dims.map((dim) => (dim === 'past' ? 0 : Number(dim)));
    return { dtype: 'f32', shape, data: new Float32Array(shape.reduce((product, dim) => product * dim, 1)) };
  };
  return Object.fromEntries(shapes.map(({ name, shape }) => [`state:${name}`, zero(shape)]));
}
