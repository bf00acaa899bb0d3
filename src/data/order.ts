/**
 * @file The data order of a phase: position → (source, sequence, data pass). Positions are what leases, claims and
 * traces name; anybody recomputes from the manifest which text they stand for. Nobody chooses his data.
 */
import { assert } from '../util/errors.ts';
import { DataError } from './errors.ts';
import { drawAt, layOutCycle, type MixtureCycle } from './mixture.ts';
import { permutationKey, permute } from './permutation.ts';
import type { SequenceRequest } from './shards.ts';

export interface OrderOptions {
  /** The manifest's seed (hex). */
  readonly seed: string;
  /** Source name → integer share, as in the manifest's phase. */
  readonly mixture: Readonly<Record<string, number>>;
  /** Source name → how many whole sequences its training shards hold (`sequenceCounts` of shards.ts). */
  readonly sequences: ReadonlyMap<string, number>;
}

/** Made by `buildOrder`; immutable but for a cache of keys. */
export interface DataOrder {
  readonly seed: string;
  readonly cycle: MixtureCycle;
  /** Sequence counts, by source index of the cycle. */
  readonly sizes: readonly number[];
  readonly keys: Map<string, Uint8Array>;
}

export interface OrderedSequence {
  readonly source: string;
  /** Which sequence of the source's training shards, in [0, sequences). */
  readonly sequenceIndex: number;
  /** 0 the first time through the source; each pass has a permutation of its own. */
  readonly pass: number;
}

export function buildOrder(options: OrderOptions): DataOrder {
  const cycle = layOutCycle(options.mixture);
  const sizes = cycle.sources.map((source) => options.sequences.get(source) ?? 0);
  const empty = cycle.sources.filter((_, i) => sizes[i] === 0);
  if (empty.length > 0) {
    throw new DataError(
      'BAD_MIXTURE',
      `mixture: no training sequences for ${empty.join(', ')} in the catalog's shards`,
    );
  }
  return { seed: options.seed, cycle, sizes, keys: new Map() };
}

/** The sequence at `position` ≥ 0 of the order. */
export function sequenceAt(order: DataOrder, position: number): OrderedSequence {
  assert(Number.isSafeInteger(position) && position >= 0, `sequenceAt: position ${position} is not a whole number ≥ 0`);
  const { source: index, draw } = drawAt(order.cycle, position);
  const source = order.cycle.sources[index]!;
  const size = order.sizes[index]!;
  const pass = Math.floor(draw / size);
  return { source, sequenceIndex: permute(passKey(order, source, pass), size, draw % size), pass };
}

/** Which training text the positions of a lease or a trace stand for, `length` tokens each. */
export function requestsOf(order: DataOrder, positions: Iterable<number>, length: number): SequenceRequest[] {
  return Array.from(positions, (position) => {
    const { source, sequenceIndex } = sequenceAt(order, position);
    return { stage: 'train', source, sequenceIndex, length };
  });
}

function passKey(order: DataOrder, source: string, pass: number): Uint8Array {
  const name = `${pass}/${source}`;
  let key = order.keys.get(name);
  if (key === undefined) {
    key = permutationKey('accrete data order 1', order.seed, source, String(pass));
    order.keys.set(name, key);
  }
  return key;
}
