/** @file A copy resembles its original, also with noise; honest work of two does not. */
import { describe, expect, it } from 'vitest';
import { Rng } from '../../util/rng.ts';
import { resemblance, sketchPositions, takeSketch } from './resemblance.ts';

const count = 200_000;
const noise = (seed: string): Float32Array => {
  const rng = new Rng(seed);
  return Float32Array.from({ length: count }, () => rng.normal());
};
const positions = sketchPositions('secret', count);
const compare = (a: Float32Array, b: Float32Array, isSparse = false): number =>
  resemblance(takeSketch(a, positions), takeSketch(b, positions), { isSparse });

describe('resemblance', () => {
  it('of unrelated, scaled, noisy and partly common values is their cosine', () => {
    const [own, other] = [noise('a'), noise('b')];
    expect(Math.abs(compare(own, other))).toBeLessThan(0.04);
    expect(
      compare(
        own,
        own.map((x) => x * 3),
      ),
    ).toBeCloseTo(1, 6);
    expect(
      compare(
        own,
        own.map((x) => -x),
      ),
    ).toBe(0);
    // Half as much noise as value: 1 / √1.25.
    expect(
      compare(
        own,
        own.map((x, i) => x + 0.5 * other[i]!),
      ),
    ).toBeCloseTo(0.894, 1);
  });

  it('of nothing is 0', () => {
    expect(compare(new Float32Array(count), noise('a'))).toBe(0);
  });

  it('of sparse codecs is the share of common positions where that is more', () => {
    const sparse = (seed: string, at: number) => noise(seed).map((x, i) => (i % 10 === at ? x : 0));
    expect(compare(sparse('a', 3), sparse('b', 3), true)).toBe(1);
    expect(compare(sparse('a', 3), sparse('b', 4), true)).toBe(0);
    expect(compare(sparse('a', 3), sparse('b', 3))).toBeLessThan(0.2);
  });

  it('is seen at positions that follow from a secret', () => {
    expect(sketchPositions('secret', count)).toEqual(positions);
    expect(sketchPositions('other', count)).not.toEqual(positions);
    expect(positions.length).toBe(16_384);
    expect(Math.max(...positions)).toBeLessThan(count);
    expect([...sketchPositions('secret', 5)]).toEqual([0, 1, 2, 3, 4]);
  });
});
