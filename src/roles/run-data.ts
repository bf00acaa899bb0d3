/**
 * @file A run's text as roles read it: sequences by position of an order, from shards in memory, or from a cache that fetches what is
 * read.
 */
import { type OrderedPart, PhaseOrders } from '../data/phase-order.ts';
import { ShardIndex } from '../data/shard-index.ts';
import { decodePageIndex, type PagedShard } from '../data/shard-pages.ts';
import { type LoadedShards, readLocated, type Sequence, type TextPlace } from '../data/shards.ts';
import { manifestOf } from '../journal/queries.ts';
import type { RunState } from '../journal/state.ts';
import { type Phase, type RunManifest, type Shard, spanTokensOf } from '../protocol/manifest.ts';
import type { Store } from '../store/port.ts';
import { eachInRanges, type Range } from '../util/ranges.ts';

/** Where a position of a phase's order lies. */
export interface LocatedSequence extends OrderedPart, TextPlace {}

/** Text that is at hand while it is read, and need not be before. */
export interface RunText {
  readonly shards: readonly Shard[];
  /** Closes documents. */
  readonly endOfText: number;
  /** What `work` of `reading` reads. */
  readonly loaded: LoadedShards;
  locate(phase: number, position: number): LocatedSequence;
  /** Does `work` once these places are at hand; they stay until it ends. Failures: StoreError, and those of `work`. */
  reading<T>(places: readonly TextPlace[], work: () => T | Promise<T>): Promise<T>;
}

export interface RunData {
  readonly shards: readonly Shard[];
  /** By the root of their artifact. */
  readonly loaded: LoadedShards;
  /** Closes documents. */
  readonly endOfText: number;
  /** The sequence at a position of a phase's order. */
  sequenceAt(phase: number, position: number): Sequence;
  /** Where the sequence at a position lies in its source's text. */
  placeOf(phase: number, position: number): OrderedPart;
}

/** Phases as they are now, amended ones too, and how many positions of its order each has drawn. */
export interface PhaseTerms {
  readonly phases: readonly Phase[];
  readonly cursors: readonly number[];
}

export const phaseTermsOf = (run: RunState): PhaseTerms => ({
  phases: manifestOf(run).phases,
  cursors: [...run.cursor],
});

/** The place of each position, in O(1); reads nothing. `terms`: of now; the manifest's own phases without. */
export function locatorOf(
  manifest: RunManifest,
  terms: () => PhaseTerms = () => ({ phases: manifest.phases, cursors: [] }),
): (phase: number, position: number) => LocatedSequence {
  const spanTokens = spanTokensOf(manifest.phases);
  const index = new ShardIndex(manifest.data.shards, 'train', spanTokens);
  const spans = index.counts();
  let known: { readonly phases: readonly Phase[]; readonly orders: PhaseOrders } | null = null;
  return (phase, position) => {
    const { phases, cursors } = terms();
    if (known?.phases !== phases)
      known = { phases, orders: new PhaseOrders({ seed: manifest.seed, spanTokens, spans, phases }) };
    const place = known.orders.at(phase, position, cursors);
    const length = phases[phase]!.sequenceLength;
    const { shard, offset } = index.locate(place.source, place.span);
    return { ...place, shard, offset: offset + place.part * length, length };
  };
}

/** Text that is at hand: reads sequences, fetches nothing. */
export function runDataOf(
  manifest: RunManifest,
  loaded: LoadedShards,
  endOfText: number,
  terms?: () => PhaseTerms,
): RunData {
  const located = locatorOf(manifest, terms);
  return {
    shards: manifest.data.shards,
    loaded,
    endOfText,
    sequenceAt: (phase, position) => readLocated(loaded, { ...located(phase, position), endOfText }),
    placeOf: located,
  };
}

/** The sequences at positions of a phase's order, one after another. @throws StoreError, DataError */
export function sequencesAt(text: RunText, phase: number, positions: Iterable<number>): Promise<readonly Sequence[]> {
  const places = Array.from(positions, (position) => text.locate(phase, position));
  const { loaded, endOfText } = text;
  return text.reading(places, () => places.map((place) => readLocated(loaded, { ...place, endOfText })));
}

/** As `sequencesAt`, for work that reads the sequences of a phase by itself: a replay's step. */
export function readingOf(
  text: RunText,
): <T>(phase: number, sequences: readonly Range[], work: () => Promise<T>) => Promise<T> {
  return (phase, sequences, work) => {
    const places = Array.from(eachInRanges(sequences), (position) => text.locate(phase, position));
    return text.reading(places, work);
  };
}

/** Where all text can be read at once. */
export const textAtHand = (
  { shards, loaded, endOfText }: Pick<RunText, 'shards' | 'loaded' | 'endOfText'>,
  locate: RunText['locate'],
): RunText => ({ shards, loaded, endOfText, locate, reading: async (_, work) => work() });

/** Which shards have pages. @throws StoreError; DataError DAMAGED */
export async function fetchPageIndex(
  { data: { pages, shards } }: RunManifest,
  store: Pick<Store, 'get'>,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, PagedShard>> {
  return pages === undefined ? new Map() : decodePageIndex(await store.get(pages, { signal }), shards);
}
