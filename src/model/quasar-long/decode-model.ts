/**
 * @file A model that decodes: its sessions and parameters, shared by any number of sequences, each with its own past. A
 * prompt is read in blocks, the large ones first; the result equals the full forward pass, as keys, values and the
 * branches' states are all carried. Runs of several sequences take turns.
 */
import type { Device } from '../../engine/device.ts';
import { openSession, type Session } from '../../engine/session.ts';
import { type TensorView, zeros } from '../../tensor/view.ts';
import { ModelError } from '../errors.ts';
import type { QuasarLongConfig } from './config.ts';
import { buildDecodeGraph, cacheInput, type DecodeGraph } from './decode.ts';
import { feedParams, feedTokens } from './feeds.ts';
import type { Params } from './init.ts';
import { RowCache } from './row-cache.ts';
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

/** Parameters and sessions once, for any number of sequences. */
export interface DecodeModel {
  readonly config: QuasarLongConfig;
  /** A new sequence, empty. Its `release` gives its memory back, and no more. */
  begin(): Decoder;
  /** Ends the sessions; no sequence may be read after that. */
  release(): Promise<void>;
}

/** `params` must not change while the model is open: a session may hold a copy of them. */
export async function openDecodeModel(
  config: QuasarLongConfig,
  params: Params,
  options: DecoderOptions = {},
): Promise<DecodeModel> {
  const sessions = new DecodeSessions(config, params, options);
  return { config, begin: () => new Sequence(config, sessions), release: () => sessions.release() };
}

interface Past {
  readonly states: Readonly<Record<string, TensorView>>;
  readonly caches: ReadonlyMap<string, RowCache>;
  readonly length: number;
}

class DecodeSessions {
  readonly states: DecodeGraph['states'];
  readonly caches: DecodeGraph['caches'];
  readonly #config: QuasarLongConfig;
  readonly #options: DecoderOptions;
  readonly #fixed: Readonly<Record<string, TensorView>>;
  readonly #isSmall: boolean;
  readonly #hasSmallScores: boolean;
  readonly #sessions = new Map<string, { readonly session: Session; readonly segments: number }>();
  /** Settles when the run before has ended: a session is not replaced while another sequence uses it. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(config: QuasarLongConfig, params: Params, options: DecoderOptions) {
    this.#config = config;
    this.#options = options;
    this.#fixed = feedParams(config, params);
    this.#isSmall = Object.values(this.#fixed).reduce((sum, { data }) => sum + data.byteLength, 0) <= maxConstantBytes;
    this.#hasSmallScores = areScoresSmall(config, params);
    ({ states: this.states, caches: this.caches } = buildDecodeGraph(config, { time: 1 }));
  }

  run(past: Past, ids: readonly number[], lastOnly: boolean): Promise<Readonly<Record<string, TensorView>>> {
    return this.#inTurn(async () => {
      const time = ids.length;
      const wanted = segmentsFor(past.length, time, this.#options.pairsAtOnce ?? defaultPairs);
      const { session, segments } = await this.#sessionFor(time, lastOnly || time === 1, wanted.segments);
      const positions = ids.map((_, i) => past.length + i);
      const tokens = { input_ids: feedTokens(ids, [1, time]), position_ids: feedTokens(positions, [1, time]) };
      const views = this.#cacheViews(past.caches, segments, wanted.segmentRows);
      return await session.run({ ...this.#fixed, ...past.states, ...views, ...tokens });
    });
  }

  /** Opens the sessions for blocks of these sizes. */
  prepare(past: number, sizes: readonly number[]): Promise<void> {
    return this.#inTurn(async () => {
      let length = past;
      for (const size of sizes) {
        const { segments } = segmentsFor(length, size, this.#options.pairsAtOnce ?? defaultPairs);
        await this.#sessionFor(size, true, segments);
        length += size;
      }
    });
  }

  release(): Promise<void> {
    return this.#inTurn(async () => {
      for (const { session } of this.#sessions.values()) await session.release();
      this.#sessions.clear();
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }

  /** A session that has at least so many segments; those that it has more are fed empty. */
  async #sessionFor(time: number, lastOnly: boolean, segments: number) {
    const key = `${time} ${lastOnly}`;
    const known = this.#sessions.get(key);
    if (known && known.segments >= segments) return known;
    const { threads = 1, device = 'cpu' } = this.#options;
    // Single tokens are read often, and what each costs beside its products counts.
    const isSpecial = time === 1 && this.#isSmall && device === 'cpu';
    const shape = { time, lastOnly, segments, hasSmallScores: this.#hasSmallScores, fusesExperts: isSpecial };
    const { graph } = buildDecodeGraph(this.#config, shape);
    await known?.session.release();
    this.#sessions.delete(key);
    const constants = isSpecial ? { constants: this.#fixed } : {};
    const opened = { session: await openSession(graph, { threads, device, ...constants }), segments };
    this.#sessions.set(key, opened);
    return opened;
  }

  #cacheViews(caches: Past['caches'], segments: number, segmentRows: number): Record<string, TensorView> {
    const feeds: Record<string, TensorView> = {};
    for (const { name, keep } of this.caches) {
      const cache = caches.get(name)!;
      const views = Number.isFinite(keep) ? cache.views(1, keep) : cache.views(segments, segmentRows);
      for (const [segment, parts] of views.entries())
        for (const [part, view] of parts.entries()) feeds[cacheInput(name, segment, part)] = view;
    }
    return feeds;
  }
}

class Sequence implements Decoder {
  readonly config: QuasarLongConfig;
  readonly #sessions: DecodeSessions;
  #caches: Map<string, RowCache>;
  #states: Record<string, TensorView>;
  #length = 0;

  constructor(config: QuasarLongConfig, sessions: DecodeSessions) {
    this.config = config;
    this.#sessions = sessions;
    this.#caches = new Map(sessions.caches.map((options) => [options.name, new RowCache(options)]));
    this.#states = zeroStates(sessions.states);
  }

  get length(): number {
    return this.#length;
  }

  async feed(ids: readonly number[]): Promise<Float32Array> {
    const out = new Float32Array(ids.length * this.config.vocab_size);
    let at = 0;
    await this.#read(ids, false, (logits) => {
      out.set(logits, at);
      at += logits.length;
    });
    return out;
  }

  async feedLast(ids: readonly number[]): Promise<Float32Array> {
    if (ids.length === 0) throw new ModelError('BAD_INPUT', 'no tokens to read; give at least one');
    let last = new Float32Array(0);
    await this.#read(ids, true, (logits) => void (last = logits as Float32Array<ArrayBuffer>));
    return last;
  }

  prepare(tokenCount: number): Promise<void> {
    return this.#sessions.prepare(this.#length, [...blocksOf(tokenCount), 1]);
  }

  startDocument(): void {
    this.#forget((name) => !name.includes('.engram.'));
  }

  reset(): void {
    this.#forget(() => true);
  }

  async release(): Promise<void> {
    this.#caches = new Map(this.#sessions.caches.map((options) => [options.name, new RowCache(options)]));
    this.reset();
  }

  /** The ids in blocks, and their logits as they come. */
  async #read(ids: readonly number[], lastOnly: boolean, take: (logits: Float32Array) => void): Promise<void> {
    checkIds(this.config, ids, this.#length);
    let at = 0;
    for (const size of blocksOf(ids.length)) take(await this.#step(ids.slice(at, (at += size)), lastOnly));
  }

  async #step(ids: readonly number[], lastOnly: boolean): Promise<Float32Array> {
    const past = { states: this.#states, caches: this.#caches, length: this.#length };
    const results = await this.#sessions.run(past, ids, lastOnly);
    this.#states = Object.fromEntries(
      this.#sessions.states.map(({ name }) => [`state:${name}`, results[`next:${name}`]!]),
    );
    for (const [name, cache] of this.#caches) cache.append(results[`fresh:${name}`]!.data as Float32Array, ids.length);
    this.#length += ids.length;
    return results.logits!.data as Float32Array;
  }

  #forget(isForgotten: (name: string) => boolean): void {
    const forgotten = this.#sessions.states.filter(({ name }) => isForgotten(name));
    this.#states = { ...this.#states, ...zeroStates(forgotten) };
    for (const cache of this.#caches.values()) cache.clear();
    this.#length = 0;
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
