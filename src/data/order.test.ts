/** @file The data order: a bijection a pass, exact shares in every prefix, the same for everybody. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { drawAt, layOutCycle } from './mixture.ts';
import { buildOrder, sequenceAt } from './order.ts';
import { permutationKey, permute, unpermute } from './permutation.ts';

describe('permute', () => {
  it('is a bijection of [0, size) for every size', () => {
    for (const size of [1, 2, 3, 4, 5, 7, 8, 9, 31, 64, 65, 100, 511, 1000]) {
      const key = permutationKey('test', String(size));
      const images = Array.from({ length: size }, (_, i) => permute(key, size, i));
      expect(new Set(images).size, `size ${size}`).toBe(size);
      expect(Math.max(...images), `size ${size}`).toBe(size - 1);
    }
  });

  it('stays in bounds for sizes past 32 bits and differs by key', () => {
    const size = 2 ** 40 + 12345;
    const a = permute(permutationKey('a'), size, 2 ** 39);
    const b = permute(permutationKey('b'), size, 2 ** 39);
    expect(a).toBeGreaterThanOrEqual(0);
    expect(a).toBeLessThan(size);
    expect(a).not.toBe(b);
  });

  it('has an inverse, exact for every size up to 2^52, at powers of two and beside them', () => {
    for (const bits of [1, 2, 5, 16, 31, 32, 33, 40, 48, 50, 51, 52])
      for (const size of [2 ** bits - 1, 2 ** bits, 2 ** bits + 1]) {
        if (size < 2 || size > 2 ** 52) continue;
        const key = permutationKey('inverse', String(size));
        for (const index of [0, 1, Math.floor(size / 3), Math.floor(size / 2) + 1, size - 2, size - 1]) {
          if (index < 0 || index >= size) continue;
          const image = permute(key, size, index);
          expect(Number.isSafeInteger(image) && image >= 0 && image < size, `${size}: ${index} → ${image}`).toBe(true);
          expect(unpermute(key, size, image), `${size}: ${index}`).toBe(index);
        }
      }
  });

  it('property: no two indices have one image, beyond 32 bits too', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2 ** 32, max: 2 ** 52 }), fc.maxSafeNat(), fc.string(), (size, at, name) => {
        const key = permutationKey(name);
        expect(unpermute(key, size, permute(key, size, at % size))).toBe(at % size);
      }),
      { seed: 9, numRuns: 300 },
    );
  });

  it('spreads neighbours: no more runs than chance gives', () => {
    const size = 4096;
    const key = permutationKey('spread');
    let adjacent = 0;
    for (let i = 1; i < size; i++) if (Math.abs(permute(key, size, i) - permute(key, size, i - 1)) === 1) adjacent++;
    expect(adjacent).toBeLessThan(12); // 2 expected
  });
});

describe('mixture', () => {
  const mixtures = fc.dictionary(
    fc.string({ minLength: 1, maxLength: 4 }).filter((name) => name !== '__proto__'),
    fc.integer({ min: 1, max: 50 }),
    { minKeys: 1, maxKeys: 6 },
  );

  it('keeps every prefix within one draw of each share', () => {
    fc.assert(
      fc.property(mixtures, (mixture) => {
        const cycle = layOutCycle(mixture);
        const total = cycle.sourceAt.length;
        const counts = new Array<number>(cycle.sources.length).fill(0);
        for (let position = 0; position < 2 * total; position++) {
          const { source, draw } = drawAt(cycle, position);
          expect(draw).toBe(counts[source]!++);
          for (const [i, count] of counts.entries()) {
            expect(Math.abs(count - ((position + 1) * cycle.shares[i]!) / total)).toBeLessThan(1);
          }
        }
      }),
      { seed: 4, numRuns: 60 },
    );
  });

  it('refuses shares that are not whole and positive', () => {
    for (const mixture of [{}, { a: 0 }, { a: -1 }, { a: 0.5 }, { a: 1, b: Number.NaN }]) {
      expect(() => layOutCycle(mixture as Record<string, number>), JSON.stringify(mixture)).toThrow(/mixture/);
    }
  });
});

describe('sequenceAt', () => {
  const sequences = new Map([
    ['a', 7],
    ['b', 50],
  ]);
  const order = buildOrder({ seed: '00'.repeat(32), mixture: { a: 1, b: 2 }, sequences });

  it('reads every sequence of a source once a pass, in another order each pass', () => {
    const passes = new Map<string, number[]>();
    for (let position = 0; position < 300; position++) {
      const { source, sequenceIndex, pass } = sequenceAt(order, position);
      const name = `${source}/${pass}`;
      passes.set(name, [...(passes.get(name) ?? []), sequenceIndex]);
    }
    for (let pass = 0; pass < 14; pass++) {
      expect(
        [...passes.get(`a/${pass}`)!].sort((x, y) => x - y),
        `pass ${pass}`,
      ).toEqual([0, 1, 2, 3, 4, 5, 6]);
    }
    expect(new Set(passes.get('b/0')).size).toBe(50);
    expect(passes.get('b/0')).not.toEqual(passes.get('b/1'));
  });

  it('depends on seed and mixture alone, not on the order of keys or of calls', () => {
    const again = buildOrder({ seed: '00'.repeat(32), mixture: { b: 4, a: 2 }, sequences });
    const other = buildOrder({ seed: '11'.repeat(32), mixture: { a: 1, b: 2 }, sequences });
    const read = (from: typeof order) => Array.from({ length: 60 }, (_, i) => sequenceAt(from, 59 - i).sequenceIndex);
    expect(read(again)).toEqual(read(order));
    expect(read(other)).not.toEqual(read(order));
  });

  it('is what an independent program computes from the definition', () => {
    const file = new URL('../../tests/vectors/data-order/order.json', import.meta.url);
    const cases: {
      seed: string;
      mixture: Record<string, number>;
      sequences: Record<string, number>;
      order: unknown;
    }[] = JSON.parse(readFileSync(file, 'utf8'));
    for (const { seed, mixture, sequences: sizes, order: expected } of cases) {
      const built = buildOrder({ seed, mixture, sequences: new Map(Object.entries(sizes)) });
      const read = Array.from({ length: 40 }, (_, position) => sequenceAt(built, position));
      expect(read.map((s) => [s.source, s.sequenceIndex, s.pass])).toEqual(expected);
    }
  });

  it('refuses a source without sequences', () => {
    expect(() => buildOrder({ seed: '', mixture: { a: 1, none: 1 }, sequences })).toThrow(/none/);
  });
});
