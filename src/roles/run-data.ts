/** @file A run's text as roles read it: shards fetched from the store by artifact, and sequences by order position. */
import { type OrderedPart, PhaseOrders } from '../data/phase-order.ts';
import { ShardIndex } from '../data/shard-index.ts';
import { decodeShard, type LoadedShards, readLocated, type Sequence, type TokenIds } from '../data/shards.ts';
import { manifestOf } from '../journal/queries.ts';
import type { RunState } from '../journal/state.ts';
import { type Phase, type RunManifest, type Shard, spanTokensOf } from '../protocol/manifest.ts';
import type { Store } from '../store/port.ts';

/** Where a position of a phase's order lies. */
export interface LocatedSequence extends OrderedPart {
  readonly shard: Shard;
  /** Of its first token. */
  readonly offset: number;
  readonly length: number;
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

/** Fetches the shards of the given stages; the store checks their hashes. */
export async function loadRunData(
  manifest: RunManifest,
  store: Store,
  options: { readonly endOfText: number; readonly stages: readonly Shard['stage'][]; readonly signal: AbortSignal },
  terms?: () => PhaseTerms,
): Promise<RunData> {
  const { endOfText, stages, signal } = options;
  const { shards } = manifest.data;
  const loaded = new Map<string, TokenIds>();
  for (const shard of shards) {
    if (!stages.includes(shard.stage)) continue;
    const bytes = await store.get(shard.artifact, { signal });
    loaded.set(shard.artifact.root, decodeShard(bytes, shard, manifest.tokenizer.vocabSize));
  }
  return runDataOf(manifest, loaded, endOfText, terms);
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
