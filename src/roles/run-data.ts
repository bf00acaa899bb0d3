/** @file A run's text as roles read it: shards fetched from the store by artifact, and sequences by order position. */
import { type OrderedPart, PhaseOrders } from '../data/phase-order.ts';
import { decodeShard, readPart, type Sequence, sequenceCounts, type TokenIds } from '../data/shards.ts';
import { manifestOf } from '../journal/queries.ts';
import type { RunState } from '../journal/state.ts';
import { type Phase, type RunManifest, type Shard, spanTokensOf } from '../protocol/manifest.ts';
import type { Store } from '../store/port.ts';

export interface RunData {
  readonly shards: readonly Shard[];
  /** By the root of their artifact. */
  readonly loaded: ReadonlyMap<string, TokenIds>;
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

/** Text that is at hand: reads sequences, fetches nothing. `terms`: of now; the manifest's own phases without. */
export function runDataOf(
  manifest: RunManifest,
  loaded: ReadonlyMap<string, TokenIds>,
  endOfText: number,
  terms: () => PhaseTerms = () => ({ phases: manifest.phases, cursors: [] }),
): RunData {
  const { shards } = manifest.data;
  const spanTokens = spanTokensOf(manifest.phases);
  const spans = sequenceCounts(shards, 'train', spanTokens);
  let known: { readonly phases: readonly Phase[]; readonly orders: PhaseOrders } | null = null;
  const located = (phase: number, position: number) => {
    const { phases, cursors } = terms();
    if (known?.phases !== phases)
      known = { phases, orders: new PhaseOrders({ seed: manifest.seed, spanTokens, spans, phases }) };
    return { ...known.orders.at(phase, position, cursors), length: phases[phase]!.sequenceLength };
  };
  return {
    shards,
    loaded,
    endOfText,
    sequenceAt(phase, position) {
      const { source, span, part, length } = located(phase, position);
      const whole = { stage: 'train', source, sequenceIndex: span, length: spanTokens } as const;
      return readPart(shards, loaded, whole, { endOfText, from: part * length, length });
    },
    placeOf: located,
  };
}
