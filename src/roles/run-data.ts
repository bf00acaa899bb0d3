/** @file A run's text as roles read it: shards fetched from the store by artifact, and sequences by order position. */
import { buildOrder, type DataOrder, sequenceAt } from '../data/order.ts';
import { decodeShard, readSequence, type Sequence, sequenceCounts, type TokenIds } from '../data/shards.ts';
import type { RunManifest, Shard } from '../protocol/manifest.ts';
import type { Store } from '../store/port.ts';

export interface RunData {
  readonly shards: readonly Shard[];
  /** By the root of their artifact. */
  readonly loaded: ReadonlyMap<string, TokenIds>;
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

/** Text that is at hand: reads sequences, fetches nothing. */
export function runDataOf(manifest: RunManifest, loaded: ReadonlyMap<string, TokenIds>, endOfText: number): RunData {
  const { shards } = manifest.data;
  const orders = new Map<number, DataOrder>();
  const located = (phase: number, position: number) => {
    const { mixture, sequenceLength } = manifest.phases[phase]!;
    let order = orders.get(phase);
    if (order === undefined) {
      const sequences = sequenceCounts(shards, 'train', sequenceLength);
      order = buildOrder({ seed: manifest.seed, mixture, sequences });
      orders.set(phase, order);
    }
    return { ...sequenceAt(order, position), length: sequenceLength };
  };
  return {
    shards,
    loaded,
    endOfText,
    sequenceAt(phase, position) {
      const { source, sequenceIndex, length } = located(phase, position);
      return readSequence(shards, loaded, { stage: 'train', source, sequenceIndex, length, endOfText });
    },
    sourceAt: (phase, position) => located(phase, position).source,
  };
}
