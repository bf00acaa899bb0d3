/**
 * @file The order over a catalog of ten trillion tokens, in phases of other lengths and mixtures, with sources of their own and with
 * sources that they share: nothing twice, nothing left out, also across a phase change, shares exact. By counting on samples, and for all positions by the permutation's inverse: a map with a two-sided inverse
 * on whole numbers below its size repeats and skips nothing.
 */
import { describe, expect, it } from 'vitest';
import type { Shard } from '../protocol/manifest.ts';
import { Rng } from '../util/rng.ts';
import { drawAt, layOutCycle } from './mixture.ts';
import { buildOrder, type DataOrder, sequenceAt } from './order.ts';
import { permutationKey, permute, unpermute } from './permutation.ts';
import { PhaseOrders, windowSpans } from './phase-order.ts';
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

/**
 * Two phases that share all their sources, as a run reads them (`PhaseOrders`): sequences of 4,096 tokens are parts of spans of
 * 32,768, and the second phase goes on in each source's permutation where the first ended.
 */
describe('ten trillion tokens across a change of phase', () => {
  const spanTokens = 32_768;
  const phases = [
    { sequenceLength: 4_096, mixture: { web: 499_979, code: 300_007, papers: 150_001, books: 50_013 } },
    { sequenceLength: 32_768, mixture: { web: 350_003, code: 250_007, papers: 299_987, books: 100_003 } },
  ];
  const spans = new ShardIndex(catalog, 'train', spanTokens).counts();
  const orders = new PhaseOrders({ seed, spanTokens, spans, phases });
  // 5T tokens, then all that is left of the source that ends first; neither is a round number of cycles.
  const cursors = [Math.floor(5e12 / 4_096) + 12_345, 0];
  const starts = orders.startsOf(1, cursors);
  const cycles = phases.map(({ mixture }) => layOutCycle(mixture));
  const sources = cycles[0]!.sources;
  /** By phase and source: the place in the cycle of each rank. */
  const places = cycles.map(({ shares, sourceAt, rankAt }) => {
    const byRank = shares.map((share) => new Uint32Array(share));
    for (const [place, source] of sourceAt.entries()) byRank[source]![rankAt[place]!] = place;
    return byRank;
  });
  const sizeOf = (source: string): number => spans.get(source)!;
  const partsOf = (phase: number): number => spanTokens / phases[phase]!.sequenceLength;
  const startOf = (phase: number, source: string): number => (phase === 0 ? 0 : starts.get(source)!);

  /** How many of a phase's first `position` positions draw from a source: counted by the cycle, in closed form. */
  function drawnBefore(phase: number, source: string, position: number): number {
    const cycle = cycles[phase]!;
    const at = cycle.sources.indexOf(source);
    const place = position % cycle.sourceAt.length;
    let drawn = ((position - place) / cycle.sourceAt.length) * cycle.shares[at]!;
    for (let i = 0; i < place; i++) if (cycle.sourceAt[i] === at) drawn++;
    return drawn;
  }

  /** The position that draws a source for the `draw`-th time: `drawAt` backwards. */
  function positionOfDraw(phase: number, source: string, draw: number): number {
    const cycle = cycles[phase]!;
    const at = cycle.sources.indexOf(source);
    const share = cycle.shares[at]!;
    const rank = draw % share;
    return ((draw - rank) / share) * cycle.sourceAt.length + places[phase]![at]![rank]!;
  }

  /**
   * Which positions of a phase read a part of a span in the first pass: what `PhaseOrders.at` does, backwards. Null: the phase
   * does not reach it, for it begins after it.
   */
  function positionOf(phase: number, source: string, span: number, part: number): number | null {
    const parts = partsOf(phase);
    const size = sizeOf(source);
    const rank = unpermute(permutationKey('accrete data order 1', seed, source, '0'), size, span);
    let unit = rank * parts + part;
    if (parts > 1) {
      const window = Math.floor(rank / windowSpans);
      const first = window * windowSpans;
      const count = Math.min(windowSpans, size - first) * parts;
      const key = permutationKey('accrete data window 1', seed, source, '0', String(window));
      unit = first * parts + unpermute(key, count, (rank - first) * parts + part);
    }
    const draw = unit - startOf(phase, source) * parts;
    return draw < 0 ? null : positionOfDraw(phase, source, draw);
  }

  /** Spans of the first pass that phase 0 drew from, at least in part, and where phase 1 begins. */
  const bounds = sources.map((source) => {
    const drawn = drawnBefore(0, source, cursors[0]!);
    return { source, drawn, touched: Math.ceil(drawn / partsOf(0)), start: startOf(1, source) };
  });

  it('phase 1 begins after all that phase 0 drew, and leaves out less than a window a source: 0.0001 % of it', () => {
    for (const { source, touched, start } of bounds) {
      expect(start, source).toBeGreaterThanOrEqual(touched);
      expect(start - touched, source).toBeLessThan(windowSpans);
      expect(start, `${source} is not used up`).toBeLessThan(sizeOf(source));
      expect((start - touched) / touched, source).toBeLessThan(1e-5);
    }
  });

  it('each position of both phases leads to a part of a span, and that one back to it alone', () => {
    const rng = new Rng('across');
    const left = sources.map((source) => positionOfDraw(1, source, sizeOf(source) - startOf(1, source) - 1));
    const lasts = [cursors[0]!, Math.min(...left)];
    for (const phase of [0, 1]) {
      const last = lasts[phase]!;
      const sampled = [
        0,
        1,
        2,
        last - 2,
        last - 1,
        ...Array.from({ length: 200 }, () => Math.floor(rng.uniform() * last)),
      ];
      for (const position of sampled) {
        const { source, span, part, pass } = orders.at(phase, position, cursors);
        expect(pass, `${phase} ${position}`).toBe(0);
        expect(positionOf(phase, source, span, part), `${phase} ${position}`).toBe(position);
        if (phase === 0) {
          // Phase 1 would have to read it before its own beginning.
          expect(positionOf(1, source, span, 0), `${position} again`).toBeNull();
        }
        // Phase 0 would have read each part of it after its end.
        else
          for (let each = 0; each < partsOf(0); each++)
            expect(positionOf(0, source, span, each), `${position} before`).toBeGreaterThanOrEqual(cursors[0]!);
      }
    }
  });

  it('each part of every span that phase 1 does not begin after has one position in phase 0, each later span one in phase 1', () => {
    const rng = new Rng('spans');
    for (const { source, drawn, start } of bounds) {
      const key = permutationKey('accrete data order 1', seed, source, '0');
      const order = (rank: number): number => permute(key, sizeOf(source), rank);
      const near = [start - windowSpans - 1, start - windowSpans, start - 1, start, start + 1, sizeOf(source) - 1];
      const ranks = [...near, ...Array.from({ length: 40 }, () => Math.floor(rng.uniform() * sizeOf(source)))];
      let leftOut = 0;
      for (const rank of ranks) {
        const span = order(rank);
        if (rank >= start) {
          const position = positionOf(1, source, span, 0)!;
          expect(orders.at(1, position, cursors), `${source} ${rank}`).toEqual({ source, span, part: 0, pass: 0 });
          continue;
        }
        for (let part = 0; part < partsOf(0); part++) {
          const position = positionOf(0, source, span, part)!;
          // What is left out lies in the window in which phase 0 ended.
          if (position >= cursors[0]!) {
            expect(rank, `${source} ${rank}`).toBeGreaterThanOrEqual(
              Math.floor(drawn / partsOf(0) / windowSpans) * windowSpans,
            );
            leftOut++;
          } else expect(orders.at(0, position, cursors), `${source} ${rank}`).toEqual({ source, span, part, pass: 0 });
        }
      }
      expect(leftOut, source).toBeLessThanOrEqual(4 * partsOf(0));
    }
  });

  it('counted: the last 4,000 positions of phase 0 and the first 4,000 of phase 1 read no token twice', () => {
    const seen = new Set<string>();
    for (const [phase, from] of [
      [0, cursors[0]! - 4_000],
      [1, 0],
    ] as const)
      for (let i = 0; i < 4_000; i++) {
        const { source, span, part } = orders.at(phase, from + i, cursors);
        for (let each = part * (8 / partsOf(phase)); each < (part + 1) * (8 / partsOf(phase)); each++) {
          expect(seen.has(`${source}/${span}/${each}`), `${phase} ${from + i}`).toBe(false);
          seen.add(`${source}/${span}/${each}`);
        }
      }
    expect(seen.size).toBe(4_000 + 8 * 4_000);
  });

  it('keeps both mixtures within one sequence over a million draws, from the first and across the change', () => {
    for (const [phase, from] of [
      [0, cursors[0]! - 1_000_000],
      [1, 0],
    ] as const) {
      const cycle = cycles[phase]!;
      const whole = cycle.sourceAt.length;
      expect(whole).toBe(1_000_000);
      const counts = new Map(cycle.sources.map((source) => [source, 0]));
      let worst = 0;
      const first = cycle.sources.map((source) => drawnBefore(phase, source, from));
      for (let i = 0; i < 1_000_000; i++) {
        const { source } = drawAt(cycle, from + i);
        const name = cycle.sources[source]!;
        counts.set(name, counts.get(name)! + 1);
        // Of all that the phase has drawn so far, not of this stretch alone.
        worst = Math.max(
          worst,
          Math.abs(first[source]! + counts.get(name)! - ((from + i + 1) * cycle.shares[source]!) / whole),
        );
      }
      expect(worst, `phase ${phase}`).toBeLessThan(1);
      // A million in a row, wherever they begin: each source within one of its share.
      for (const [i, source] of cycle.sources.entries())
        expect(Math.abs(counts.get(source)! - cycle.shares[i]!), `${phase} ${source}`).toBeLessThanOrEqual(1);
      // The order draws from the source that the cycle says.
      for (let i = 0; i < 500; i++)
        expect(orders.at(phase, from + 1_999 * i, cursors).source).toBe(
          cycle.sources[drawAt(cycle, from + 1_999 * i).source],
        );
    }
  });
});
