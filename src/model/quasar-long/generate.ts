/**
 * @file Continues token ids with cached decoding. The prompt is read in blocks, the large ones first; the result equals
 * the full forward pass, as keys, values and the branches' states are all carried.
 */
import type { Device } from '../../engine/device.ts';
import { openSession, type Session } from '../../engine/session.ts';
import { type TensorView, zeros } from '../../tensor/view.ts';
import { Rng } from '../../util/rng.ts';
import { ModelError } from '../errors.ts';
import type { QuasarLongConfig } from './config.ts';
import { buildDecodeGraph, cacheInput, type DecodeGraph } from './decode.ts';
import { feedParams, feedTokens } from './feeds.ts';
import type { Params } from './init.ts';
import { RowCache } from './row-cache.ts';
import { type SamplingOptions, sampleToken } from './sampling.ts';
import { areScoresSmall } from './score-bound.ts';

/** Tokens of a run, the largest that fits: few sizes, as each has a graph of its own. */
const blockSizes = [256, 32, 8, 1];
/** Token pairs for which a run holds scores of a key-value head's queries at once: a long past is read in segments. */
const defaultPairs = 2 ** 20;
/**
 * Params up to here are copied into the session that reads single tokens: a step of nano takes 1.1 instead of 1.6 ms so. Of a
 * larger model the products take nearly all the time, and the copy would be dear.
 */
const maxConstantBytes = 2 ** 29;
/** Segments of one graph; beyond, they are longer. */
const maxSegments = 128;
/** Positions are exact in float32 up to here, and a cache of this length fills any machine. */
const maxTokens = 2 ** 24;

/** One sequence being decoded. Not for use by two callers at once. */
export interface Decoder {
  readonly config: QuasarLongConfig;
  /** Tokens of the document taken in so far. */
  readonly length: number;
  /**
   * Takes tokens in after those before; logits after each of them, (ids, vocab) row-major.
   * @throws ModelError BAD_INPUT for ids outside the vocabulary, or more than 2^24 tokens
   */
  feed(ids: readonly number[]): Promise<Float32Array>;
  /** The same, with the logits after the last token alone, (vocab). `ids` must not be empty. */
  feedLast(ids: readonly number[]): Promise<Float32Array>;
  /** Opens what reading so many tokens next, and then one by one, will need: the first reading is slower by that. */
  prepare(tokenCount: number): Promise<void>;
  /**
   * The next token begins a document, as in a packed row: at position 0, and nothing of what came before is seen (but by
   * Engram, which does not look at boundaries).
   */
  startDocument(): void;
  /** Forgets the sequence. */
  reset(): void;
  release(): Promise<void>;
}

export interface DecoderOptions {
  /** Default 1. */
  readonly threads?: number;
  /** Default cpu. */
  readonly device?: Device;
  /** Attention reads the past in segments of at most so many keys times tokens of the run (2^20 by default). */
  readonly pairsAtOnce?: number;
}

/** `params` must not change while the decoder is open: a session may hold a copy of them. */
export async function openDecoder(
  config: QuasarLongConfig,
  params: Params,
  options: DecoderOptions = {},
): Promise<Decoder> {
  const { threads = 1, device = 'cpu' } = options;
  const fixed = feedParams(config, params);
  const isSmall = Object.values(fixed).reduce((sum, { data }) => sum + data.byteLength, 0) <= maxConstantBytes;
  const hasSmallScores = areScoresSmall(config, params);
  const sessions = new Map<string, { readonly session: Session; readonly segments: number }>();
  const { states: stateList, caches: cacheList } = buildDecodeGraph(config, { time: 1 });
  const caches = new Map(cacheList.map((options) => [options.name, new RowCache(options)]));
  let states = zeroStates(stateList);
  let length = 0;

  /** A session that has at least so many segments; those that it has more are fed empty. */
  const sessionFor = async (time: number, lastOnly: boolean, segments: number) => {
    const key = `${time} ${lastOnly}`;
    const known = sessions.get(key);
    if (known && known.segments >= segments) return known;
    // Single tokens are read often, and what each costs beside its products counts.
    const isSpecial = time === 1 && isSmall && device === 'cpu';
    const { graph } = buildDecodeGraph(config, { time, lastOnly, segments, hasSmallScores, fusesExperts: isSpecial });
    await known?.session.release();
    sessions.delete(key);
    const opened = {
      session: await openSession(graph, { threads, device, ...(isSpecial ? { constants: fixed } : {}) }),
      segments,
    };
    sessions.set(key, opened);
    return opened;
  };
  const step = async (ids: readonly number[], lastOnly: boolean): Promise<Float32Array> => {
    const time = ids.length;
    const wanted = segmentsFor(length, time, options.pairsAtOnce ?? defaultPairs);
    const { session, segments } = await sessionFor(time, lastOnly || time === 1, wanted.segments);
    const positions = ids.map((_, i) => length + i);
    const tokens = { input_ids: feedTokens(ids, [1, time]), position_ids: feedTokens(positions, [1, time]) };
    const results = await session.run({ ...fixed, ...states, ...cacheViews(segments, wanted.segmentRows), ...tokens });
    states = Object.fromEntries(stateList.map(({ name }) => [`state:${name}`, results[`next:${name}`]!]));
    for (const [name, cache] of caches) cache.append(results[`fresh:${name}`]!.data as Float32Array, time);
    length += time;
    return results.logits!.data as Float32Array;
  };
  const cacheViews = (segments: number, segmentRows: number): Record<string, TensorView> => {
    const feeds: Record<string, TensorView> = {};
    for (const { name, keep } of cacheList) {
      const cache = caches.get(name)!;
      const views = Number.isFinite(keep) ? cache.views(1, keep) : cache.views(segments, segmentRows);
      for (const [segment, parts] of views.entries())
        for (const [part, view] of parts.entries()) feeds[cacheInput(name, segment, part)] = view;
    }
    return feeds;
  };
  const forget = (isForgotten: (name: string) => boolean): void => {
    states = { ...states, ...zeroStates(stateList.filter(({ name }) => isForgotten(name))) };
    for (const cache of caches.values()) cache.clear();
    length = 0;
  };
  /** The ids in blocks, and their logits as they come. */
  const read = async (ids: readonly number[], lastOnly: boolean, take: (logits: Float32Array) => void) => {
    checkIds(config, ids, length);
    let at = 0;
    for (const size of blocksOf(ids.length)) take(await step(ids.slice(at, (at += size)), lastOnly));
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
    async prepare(tokenCount) {
      let past = length;
      for (const size of [...blocksOf(tokenCount), 1]) {
        await sessionFor(size, true, segmentsFor(past, size, options.pairsAtOnce ?? defaultPairs).segments);
        past += size;
      }
    },
    startDocument: () => forget((name) => !name.includes('.engram.')),
    reset: () => forget(() => true),
    async release() {
      for (const { session } of sessions.values()) await session.release();
      sessions.clear();
    },
  };
}

export interface GenerateOptions extends SamplingOptions {
  readonly maxTokens: number;
  readonly seed: number | string;
  /** Ends before such a token; the config's end-of-text token by default, where it has one. */
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
  const { eos_token_id: ending } = decoder.config;
  const stops = new Set(options.stopIds ?? (ending === null ? [] : [ending]));
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

/** So many tokens in blocks, the large ones first. */
function blocksOf(count: number): number[] {
  const blocks: number[] = [];
  for (let rest = count; rest > 0; rest -= blocks.at(-1)!) blocks.push(blockSizes.find((size) => size <= rest)!);
  return blocks;
}

function zeroStates(list: DecodeGraph['states']): Record<string, TensorView> {
  return Object.fromEntries(list.map(({ name, shape }) => [`state:${name}`, zeros('f32', shape)]));
}

/** How a past is read by a run of `time` tokens: a power of two of segments, so that few graphs serve all lengths. */
function segmentsFor(past: number, time: number, pairsAtOnce: number): { segments: number; segmentRows: number } {
  const rows = Math.max(1, Math.floor(pairsAtOnce / time));
  const wanted = Math.max(1, Math.ceil(past / rows));
  const segments = Math.min(maxSegments, 2 ** Math.ceil(Math.log2(wanted)));
  return { segments, segmentRows: Math.max(rows, Math.ceil(past / segments)) };
}
