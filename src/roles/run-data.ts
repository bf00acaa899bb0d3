/** @file A run's text as roles read it: shards fetched from the store by artifact, and sequences by order position. */
import { buildOrder, type DataOrder, sequenceAt } from '../data/order.ts';
import { ShardIndex } from '../data/shard-index.ts';
import { decodeShard, type LoadedShards, readLocated, type Sequence, type TokenIds } from '../data/shards.ts';
import type { RunManifest, Shard } from '../protocol/manifest.ts';
import type { Store } from '../store/port.ts';

/** Where a position of a phase's order lies. */
export interface LocatedSequence {
  readonly source: string;
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
  /** Source of the sequence at a position. */
  sourceAt(phase: number, position: number): string;
}

/** Fetches the shards of the given stages; the store checks their hashes. */
export async function loadRunData(
  manifest: RunManifest,
  store: Store,
  options: { readonly endOfText: number; readonly stages: readonly Shard['stage'][]; readonly signal: AbortSignal },
): Promise<RunData> {
  const { endOfText, stages, signal } = options;
  const { shards } = manifest.data;
  const loaded = new Map<string, TokenIds>();
  for (const shard of shards) {
    if (!stages.includes(shard.stage)) continue;
    const bytes = await store.get(shard.artifact, { signal });
    loaded.set(shard.artifact.root, decodeShard(bytes, shard, manifest.tokenizer.vocabSize));
  }
  return runDataOf(manifest, loaded, endOfText);
}

/** The place of each position, in O(1); reads nothing. */
export function locatorOf(manifest: RunManifest): (phase: number, position: number) => LocatedSequence {
  const phases = new Map<number, { readonly order: DataOrder; readonly index: ShardIndex }>();
  return (phase, position) => {
    let known = phases.get(phase);
    if (known === undefined) {
      const { mixture, sequenceLength } = manifest.phases[phase]!;
      const index = new ShardIndex(manifest.data.shards, 'train', sequenceLength);
      known = { order: buildOrder({ seed: manifest.seed, mixture, sequences: index.counts() }), index };
      phases.set(phase, known);
    }
    const { source, sequenceIndex } = sequenceAt(known.order, position);
    return { source, ...known.index.locate(source, sequenceIndex), length: known.index.length };
  };
}

/** Text that is at hand: reads sequences, fetches nothing. */
export function runDataOf(manifest: RunManifest, loaded: LoadedShards, endOfText: number): RunData {
  const located = locatorOf(manifest);
  return {
    shards: manifest.data.shards,
    loaded,
    endOfText,
    sequenceAt: (phase, position) => readLocated(loaded, { ...located(phase, position), endOfText }),
    sourceAt: (phase, position) => located(phase, position).source,
  };
}
