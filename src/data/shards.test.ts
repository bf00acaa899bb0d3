/** @file Shards: bytes both ways, the sequence grid over several shards, packing at document boundaries. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Shard } from '../protocol/manifest.ts';
import {
  decodeShard,
  encodeShard,
  evenlySpaced,
  locateSequence,
  packSequence,
  readSequence,
  sequenceCounts,
  stackSequences,
  type TokenIds,
} from './shards.ts';

const root = (n: number): string => n.toString(16).padStart(64, '0');
const shardOf = (source: string, n: number, tokens: number, stage: Shard['stage'] = 'train'): Shard =>
  ({ source, artifact: { root: root(n), sizeBytes: tokens * 2 }, tokens, licence: 'CC0', stage }) as Shard;

describe('shard bytes', () => {
  it('read back as they were, in both widths and at odd offsets', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(65_535), { maxLength: 40 }), fc.boolean(), fc.nat(3), (ids, wide, shift) => {
        const vocabSize = wide ? 70_000 : 65_536;
        const bytes = encodeShard(ids, vocabSize);
        expect(bytes.byteLength).toBe(ids.length * (wide ? 4 : 2));
        const moved = new Uint8Array(bytes.byteLength + shift);
        moved.set(bytes, shift);
        expect([...decodeShard(moved.subarray(shift), shardOf('a', 1, ids.length), vocabSize)]).toEqual(ids);
      }),
      { seed: 5 },
    );
  });

  it('are little endian, and refused when cut short or out of the vocabulary', () => {
    expect([...encodeShard([258], 1000)]).toEqual([2, 1]);
    expect(() => decodeShard(new Uint8Array(3), shardOf('a', 1, 2), 1000)).toThrow(/expected 2 tokens/);
    expect(() => decodeShard(encodeShard([5, 999], 1000), shardOf('a', 1, 2), 999)).toThrow(/token 1 is 999/);
  });
});

describe('sequences', () => {
  const shards = [shardOf('a', 1, 10), shardOf('b', 2, 9), shardOf('a', 3, 7), shardOf('a', 4, 8, 'held-out')];
  const loaded = new Map<string, TokenIds>([
    [root(1), Uint16Array.from([1, 2, 99, 4, 5, 6, 7, 8, 9, 10])],
    [root(3), Uint16Array.from([11, 12, 13, 14, 15, 16, 17])],
  ]);

  it('are counted and found through all shards of a source', () => {
    expect([...sequenceCounts(shards, 'train', 4)]).toEqual([
      ['a', 3],
      ['b', 2],
    ]);
    const request = { stage: 'train', source: 'a', length: 4 } as const;
    expect(locateSequence(shards, { ...request, sequenceIndex: 2 })).toEqual({ shard: shards[2], offset: 0 });
    expect(() => locateSequence(shards, { ...request, sequenceIndex: 3 })).toThrow(/holds 3/);
    const read = readSequence(shards, loaded, { ...request, sequenceIndex: 2, endOfText: 99 });
    expect([...read.inputIds]).toEqual([11n, 12n, 13n, 14n]);
    expect(() => readSequence(shards, new Map(), { ...request, sequenceIndex: 0, endOfText: 99 })).toThrow(
      /not loaded/,
    );
  });

  it('restart positions and mask labels where documents start', () => {
    const { inputIds, positionIds, labels } = packSequence([7, 8, 99, 99, 5, 6], 99);
    expect([...inputIds].map(Number)).toEqual([7, 8, 99, 99, 5, 6]);
    expect([...positionIds].map(Number)).toEqual([0, 1, 2, 0, 0, 1]);
    expect([...labels].map(Number)).toEqual([-100, 8, 99, -100, -100, 6]);
  });

  it('stack into rows', () => {
    const rows = [packSequence([1, 2], 9), packSequence([3, 4], 9)];
    expect([...stackSequences(rows).inputIds].map(Number)).toEqual([1, 2, 3, 4]);
  });

  it('for evaluation are distinct, in bounds, as many as asked for, and shared by the mixture', () => {
    const catalog = [shardOf('a', 1, 4000, 'held-out'), shardOf('b', 2, 1000, 'held-out'), shardOf('c', 3, 8000)];
    const all = evenlySpaced(catalog, { stage: 'held-out', length: 16, count: 50 });
    expect(all.length).toBe(50);
    expect(new Set(all.map((r) => `${r.source}${r.sequenceIndex}`)).size).toBe(50);
    for (const request of all) expect(() => locateSequence(catalog, request)).not.toThrow();
    const shared = evenlySpaced(catalog, { stage: 'held-out', length: 16, count: 40, shares: { a: 1, b: 3, c: 5 } });
    expect(shared.filter((r) => r.source === 'b').length).toBe(30);
  });
});
