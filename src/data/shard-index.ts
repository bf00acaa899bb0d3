/**
 * @file Which shard holds a source's n-th sequence: O(1) where the shards are of one size (a prepared catalog), else by
 * search. A catalog of 10T tokens has 10^5 shards, and every sequence that is read asks.
 */
import type { Shard } from '../protocol/manifest.ts';
import { assert } from '../util/errors.ts';
import { DataError } from './errors.ts';
import type { Stage } from './shards.ts';

interface SourceIndex {
  readonly shards: readonly Shard[];
  /** Sequences before each shard; one more than there are shards, so that the last is the whole count. */
  readonly starts: Float64Array;
}

export class ShardIndex {
  readonly stage: Stage;
  readonly length: number;
  readonly #sources = new Map<string, SourceIndex>();

  constructor(shards: readonly Shard[], stage: Stage, length: number) {
    assert(Number.isSafeInteger(length) && length >= 1, `ShardIndex: length ${length} is not a whole number ≥ 1`);
    this.stage = stage;
    this.length = length;
    const bySource = new Map<string, Shard[]>();
    for (const shard of shards) {
      if (shard.stage !== stage) continue;
      const own = bySource.get(shard.source);
      if (own === undefined) bySource.set(shard.source, [shard]);
      else own.push(shard);
    }
    for (const [source, own] of bySource) {
      const starts = new Float64Array(own.length + 1);
      own.forEach((shard, i) => {
        starts[i + 1] = starts[i]! + Math.floor(shard.tokens / length);
      });
      this.#sources.set(source, { shards: own, starts });
    }
  }

  /** Whole sequences by source. */
  counts(): ReadonlyMap<string, number> {
    return new Map([...this.#sources].map(([source, { starts }]) => [source, starts.at(-1)!]));
  }

  /** @throws DataError OUT_OF_RANGE */
  locate(source: string, sequenceIndex: number): { readonly shard: Shard; readonly offset: number } {
    const found = this.#sources.get(source);
    const count = found?.starts.at(-1) ?? 0;
    if (found === undefined || !(sequenceIndex >= 0 && sequenceIndex < count))
      throw new DataError(
        'OUT_OF_RANGE',
        `no sequence ${sequenceIndex} of ${this.length} tokens in the ${this.stage} shards of ${source}: the catalog holds ${count}`,
      );
    const at = placeOf(found.starts, sequenceIndex);
    return { shard: found.shards[at]!, offset: (sequenceIndex - found.starts[at]!) * this.length };
  }
}

/** The greatest i with starts[i] ≤ index < starts[i + 1]. A guess by the first shard's size is right where all have it. */
function placeOf(starts: Float64Array, index: number): number {
  const first = starts[1]! - starts[0]!;
  const guess = first > 0 ? Math.floor(index / first) : 0;
  if (guess + 1 < starts.length && starts[guess]! <= index && index < starts[guess + 1]!) return guess;
  let [low, high] = [0, starts.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (starts[middle]! <= index) low = middle;
    else high = middle;
  }
  return low;
}
