/**
 * @file The data orders of all phases of a run, so that no text is drawn twice until a source is used up, also where sequence length and
 * mixture change. A source's text is cut into spans of the longest phase's sequence; a keyed permutation orders the spans once for
 * the whole run, and each phase goes on in it where the phase before ended. A phase of shorter sequences draws the parts of
 * `windowSpans` spans at a time in a keyed order of their own, so that neighbours in a span are not neighbours in a batch; it
 * begins and ends with whole windows, so that at most two windows a source and phase change are left out. Where all phases have
 * one length, spans are sequences and phase 0 has the order of `order.ts`.
 */
import { assert } from '../util/errors.ts';
import { DataError } from './errors.ts';
import { drawAt, layOutCycle, type MixtureCycle } from './mixture.ts';
import { permutationKey, permute } from './permutation.ts';

export const windowSpans = 32;

export interface PhaseOrderOptions {
  /** The manifest's seed (hex). */
  readonly seed: string;
  readonly spanTokens: number;
  /** Source name → whole spans that its training shards hold. */
  readonly spans: ReadonlyMap<string, number>;
  readonly phases: readonly PhaseText[];
}

export interface PhaseText {
  readonly sequenceLength: number;
  readonly mixture: Readonly<Record<string, number>>;
}

export interface OrderedPart {
  readonly source: string;
  /** Which span of the source's training shards. */
  readonly span: number;
  /** Which sequence of the span. */
  readonly part: number;
  /** 0 the first time through the source. */
  readonly pass: number;
}

/** Where a phase reads each source: the first span of the source's endless sequence of passes that it draws. */
type Starts = ReadonlyMap<string, number>;

export class PhaseOrders {
  readonly #options: PhaseOrderOptions;
  readonly #starts = new Map<string, Starts>();
  readonly #cycles = new Map<number, MixtureCycle>();
  readonly #passKeys = new Map<string, Uint8Array>();
  readonly #windowKeys = new Map<string, Uint8Array>();

  constructor(options: PhaseOrderOptions) {
    const { spanTokens, phases } = options;
    for (const { sequenceLength } of phases)
      if (spanTokens % sequenceLength !== 0)
        throw new DataError(
          'BAD_MIXTURE',
          `sequences of ${sequenceLength} tokens do not divide spans of ${spanTokens}`,
        );
    this.#options = options;
  }

  /**
   * The sequence at `position` of phase `phase`; `cursors`: how many positions each phase before it has drawn.
   * @throws DataError BAD_MIXTURE
   */
  at(phase: number, position: number, cursors: readonly number[]): OrderedPart {
    assert(Number.isSafeInteger(position) && position >= 0, `position ${position} is not a whole number ≥ 0`);
    const cycle = this.#cycleOf(phase);
    const { source: index, draw } = drawAt(cycle, position);
    const source = cycle.sources[index]!;
    const parts = this.#partsOf(phase);
    const unit = this.startsOf(phase, cursors).get(source)! * parts + draw;
    return this.#locate(source, unit, parts);
  }

  /** First span by source; of those that a phase before drew from and this one does not as well. */
  startsOf(phase: number, cursors: readonly number[]): Starts {
    const name = `${phase}/${cursors.slice(0, phase).join()}`;
    const known = this.#starts.get(name);
    if (known !== undefined) return known;
    const starts = this.#reckonStarts(phase, cursors);
    this.#starts.set(name, starts);
    return starts;
  }

  /** Depends on nothing of the phases after: they may be amended. */
  #reckonStarts(phase: number, cursors: readonly number[]): Starts {
    const starts = new Map<string, number>();
    for (let each = 0; each <= phase; each++) {
      const cycle = this.#cycleOf(each);
      const parts = this.#partsOf(each);
      for (const [index, source] of cycle.sources.entries()) {
        const start = this.#whole(source, starts.get(source) ?? 0, parts);
        const drawn = each === phase ? 0 : drawnBefore(cycle, index, cursors[each] ?? 0);
        starts.set(source, this.#whole(source, start + Math.ceil(drawn / parts), parts));
      }
    }
    return starts;
  }

  /** Where parts are drawn, windows begin and end whole. The last window of a pass may be shorter. */
  #whole(source: string, span: number, parts: number): number {
    if (parts === 1) return span;
    const size = this.#sizeOf(source);
    const inPass = span % size;
    return span - inPass + Math.min(Math.ceil(inPass / windowSpans) * windowSpans, size);
  }

  #locate(source: string, unit: number, parts: number): OrderedPart {
    const size = this.#sizeOf(source);
    const pass = Math.floor(unit / (size * parts));
    const inPass = unit % (size * parts);
    const [rank, part] = parts === 1 ? [inPass, 0] : this.#shuffled(source, pass, { inPass, parts, size });
    const span = permute(this.#passKey(source, pass), size, rank);
    return { source, pass, span, part };
  }

  /** Rank of the span in its pass, and the part of it. */
  #shuffled(
    source: string,
    pass: number,
    { inPass, parts, size }: { readonly inPass: number; readonly parts: number; readonly size: number },
  ): readonly [rank: number, part: number] {
    const window = Math.floor(inPass / (windowSpans * parts));
    const first = window * windowSpans;
    const count = Math.min(windowSpans, size - first) * parts;
    const drawn = permute(this.#windowKey(source, pass, window), count, inPass - first * parts);
    return [first + Math.floor(drawn / parts), drawn % parts];
  }

  #sizeOf(source: string): number {
    return this.#options.spans.get(source) ?? 0;
  }

  #partsOf(phase: number): number {
    return this.#options.spanTokens / this.#options.phases[phase]!.sequenceLength;
  }

  #cycleOf(phase: number): MixtureCycle {
    const known = this.#cycles.get(phase);
    if (known !== undefined) return known;
    const cycle = layOutCycle(this.#options.phases[phase]!.mixture);
    const empty = cycle.sources.filter((source) => this.#sizeOf(source) === 0);
    if (empty.length > 0) {
      const { spanTokens } = this.#options;
      throw new DataError(
        'BAD_MIXTURE',
        `mixture: no ${spanTokens} tokens in one training shard of ${empty.join(', ')}`,
      );
    }
    this.#cycles.set(phase, cycle);
    return cycle;
  }

  #passKey(source: string, pass: number): Uint8Array {
    return cached(this.#passKeys, `${pass}/${source}`, () =>
      permutationKey('accrete data order 1', this.#options.seed, source, String(pass)),
    );
  }

  #windowKey(source: string, pass: number, window: number): Uint8Array {
    return cached(this.#windowKeys, `${pass}/${window}/${source}`, () =>
      permutationKey('accrete data window 1', this.#options.seed, source, String(pass), String(window)),
    );
  }
}

const keptKeys = 1_024;

function cached(keys: Map<string, Uint8Array>, name: string, make: () => Uint8Array): Uint8Array {
  let key = keys.get(name);
  if (key === undefined) {
    key = make();
    if (keys.size >= keptKeys) keys.delete(keys.keys().next().value!);
    keys.set(name, key);
  }
  return key;
}

/** How many of the first `count` positions draw from a source. */
function drawnBefore(cycle: MixtureCycle, source: number, count: number): number {
  const length = cycle.sourceAt.length;
  const place = count % length;
  const drawn = ((count - place) / length) * cycle.shares[source]!;
  for (let at = place - 1; at >= 0; at--) if (cycle.sourceAt[at] === source) return drawn + cycle.rankAt[at]! + 1;
  return drawn;
}
