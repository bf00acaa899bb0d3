/**
 * @file The order over a catalog of ten trillion tokens, in two phases of other lengths and mixtures: nothing twice, nothing left
 * out, shares exact. By counting on samples, and for all positions by the permutation's inverse: a map with a two-sided inverse
 * on whole numbers below its size repeats and skips nothing.
 */
import { describe, expect, it } from 'vitest';
import type { Shard } from '../protocol/manifest.ts';
import { Rng } from '../util/rng.ts';
import { drawAt, layOutCycle } from './mixture.ts';
import { buildOrder, type DataOrder, sequenceAt } from './order.ts';
import { permutationKey, unpermute } from './permutation.ts';
import { ShardIndex } from './shard-index.ts';

const seed = '7e'.repeat(32);
const shardTokens = 2 ** 27;

/** Shards of a source; the last one is not full. */
function shardsOf(source: string, tokens: number): Shard[] {
  const count = Math.ceil(tokens / shardTokens);
  return Array.from({ length: count }, (_, i) => {
    const own = i < count - 1 ? shardTokens : tokens - i * shardTokens;
    const root = `${source.charCodeAt(0).toString(16)}${i.toString(16).padStart(62, '0')}`;
    return {
      ...{ source, tokens: own, licence: 'CC0', stage: 'train' as const },
      artifact: { root, sizeBytes: 4 * own } as Shard['artifact'],
    };
  });
}

const sizes = { web: 5.6e12, code: 2.4e12, papers: 1.2e12, books: 0.8e12 };
const catalog = Object.entries(sizes).flatMap(([source, tokens]) => shardsOf(source, tokens));
const phases = [
  { sequenceLength: 4096, mixture: { web: 7, code: 3 }, tokens: 5e12 },
  { sequenceLength: 32_768, mixture: { papers: 3, books: 2 }, tokens: 1.9e12 },
].map((phase) => {
  const index = new ShardIndex(catalog, 'train', phase.sequenceLength);
  const order = buildOrder({ seed, mixture: phase.mixture, sequences: index.counts() });
  return { ...phase, index, order, positions: Math.floor(phase.tokens / phase.sequenceLength) };
});

/** Where a sequence of the catalog comes in a pass of the order: what `sequenceAt` does, backwards. */
function positionOf(order: DataOrder, source: string, sequenceIndex: number, pass: number): number {
  const at = order.cycle.sources.indexOf(source);
  const size = order.sizes[at]!;
  const key = permutationKey('accrete data order 1', order.seed, source, String(pass));
  const draw = pass * size + unpermute(key, size, sequenceIndex);
  const share = order.cycle.shares[at]!;
  const place = order.cycle.sourceAt.findIndex((each, i) => each === at && order.cycle.rankAt[i] === draw % share);
  return Math.floor(draw / share) * order.cycle.sourceAt.length + place;
}

describe('ten trillion tokens', () => {
  it('lie in 74,508 shards, and each sequence is found in its own', () => {
    expect(catalog).toHaveLength(74_508);
    expect(catalog.reduce((sum, { tokens }) => sum + tokens, 0)).toBe(10e12);
    for (const { index, sequenceLength } of phases)
      for (const [source, count] of index.counts()) {
        const own = catalog.filter((shard) => shard.source === source);
        expect(count).toBe(own.reduce((sum, { tokens }) => sum + Math.floor(tokens / sequenceLength), 0));
        const perShard = shardTokens / sequenceLength;
        for (const at of [0, 1, perShard - 1, perShard, Math.floor(count / 2), count - 1])
          expect(index.locate(source, at), `${source} ${at}`).toEqual({
            shard: own[Math.floor(at / perShard)],
            offset: (at % perShard) * sequenceLength,
          });
        expect(() => index.locate(source, count)).toThrow(/holds/);
      }
  });

  it('each position leads to one sequence, and that one back to the position: none is read twice', () => {
    const rng = new Rng('positions');
    for (const { order, positions } of phases) {
      const sampled = [
        0,
        1,
        positions - 1,
        ...Array.from({ length: 2000 }, () => Math.floor(rng.uniform() * positions)),
      ];
      for (const position of sampled) {
        const { source, sequenceIndex, pass } = sequenceAt(order, position);
        expect(pass).toBe(0);
        expect(positionOf(order, source, sequenceIndex, pass), `${position}`).toBe(position);
      }
    }
  });

  it('each sequence has a position, in the first pass and the next: none is left out', () => {
    const rng = new Rng('sequences');
    for (const { order } of phases)
      for (const [at, source] of order.cycle.sources.entries())
        for (const pass of [0, 1])
          for (let i = 0; i < 300; i++) {
            const sequenceIndex = Math.floor(rng.uniform() * order.sizes[at]!);
            const position = positionOf(order, source, sequenceIndex, pass);
            expect(sequenceAt(order, position), `${source} ${sequenceIndex}`).toEqual({ source, sequenceIndex, pass });
          }
  });

  it('counted: a stretch of 8,000 positions anywhere reads 8,000 sequences, and resumed in the middle the same ones', () => {
    for (const { order, positions } of phases) {
      const from = Math.floor(positions * 0.61);
      const read = (first: number, last: number, by: DataOrder): string[] =>
        Array.from({ length: last - first }, (_, i) => {
          const { source, sequenceIndex } = sequenceAt(by, first + i);
          return `${source}/${sequenceIndex}`;
        });
      const all = read(from, from + 8_000, order);
      expect(new Set(all).size).toBe(8_000);
      // Another process, which has only seed, mixture and catalog, goes on in the middle.
      const again = buildOrder({
        seed,
        mixture: Object.fromEntries(order.cycle.sources.map((s, i) => [s, order.cycle.shares[i]!])),
        sequences: new Map(order.cycle.sources.map((s, i) => [s, order.sizes[i]!])),
      });
      expect(read(from + 5_000, from + 8_000, again)).toEqual(all.slice(5_000));
    }
  });

  it('keeps every share within one sequence over each of a million draws, and after 10^12', () => {
    const mixture = { web: 499_979, code: 300_007, papers: 150_001, books: 50_013 };
    const cycle = layOutCycle(mixture);
    const whole = cycle.sourceAt.length;
    expect(whole).toBe(1_000_000);
    const counts = cycle.sources.map(() => 0);
    let worst = 0;
    for (let position = 0; position < 1_000_000; position++) {
      counts[drawAt(cycle, position).source]!++;
      for (const [i, count] of counts.entries())
        worst = Math.max(worst, Math.abs(count - ((position + 1) * cycle.shares[i]!) / whole));
    }
    expect(worst).toBeLessThan(1);
    expect(counts).toEqual(cycle.shares);
    const far = 10 ** 12 + 12_345;
    const { source, draw } = drawAt(cycle, far);
    expect(Math.abs(draw - (far * cycle.shares[source]!) / whole)).toBeLessThanOrEqual(1);
  });
});
