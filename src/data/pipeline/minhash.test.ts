/** @file MinHash finds near copies as often as its formula says; the set of hashes is a set; words are cut in every script. */
import { describe, expect, it } from 'vitest';
import { Rng } from '../../util/rng.ts';
import { HashSet, RecentHashes } from './hash-set.ts';
import { bandsOf, minhashBands, minhashRows, shingleWords } from './minhash.ts';
import { wordsOf } from './test-support.ts';
import { WordCutter } from './words.ts';

const cutter = new WordCutter();
const cut = (text: string) => cutter.cut(text);

function sharesBand(a: string, b: string): boolean {
  const [one, two] = [bandsOf(cut(a))!, bandsOf(cut(b))!];
  for (let i = 0; i < one.length; i += 2) if (one[i] === two[i] && one[i + 1] === two[i + 1]) return true;
  return false;
}

const shingles = (words: readonly string[]): Set<string> =>
  new Set(
    Array.from({ length: words.length - shingleWords + 1 }, (_, i) => words.slice(i, i + shingleWords).join(' ')),
  );

function jaccard(a: readonly string[], b: readonly string[]): number {
  const [one, two] = [shingles(a), shingles(b)];
  const both = [...one].filter((each) => two.has(each)).length;
  return both / (one.size + two.size - both);
}

describe('bandsOf', () => {
  it('finds pairs as often as 1 − (1 − s^rows)^bands says, at three similarities', () => {
    for (const changed of [6, 16, 60]) {
      let [found, expected] = [0, 0];
      const pairs = 150;
      for (let n = 0; n < pairs; n++) {
        const words = wordsOf(`pair ${changed} ${n}`, 400);
        const rng = new Rng(`change ${changed} ${n}`);
        const other = [...words];
        for (let i = 0; i < changed; i++) other[rng.below(400)] = `changed${i}`;
        if (sharesBand(words.join(' '), other.join(' '))) found++;
        expected += 1 - (1 - jaccard(words, other) ** minhashRows) ** minhashBands;
      }
      // Four standard deviations of a binomial.
      const spread = 4 * Math.sqrt(Math.max(1, expected * (1 - expected / pairs)));
      expect(Math.abs(found - expected), `${changed} words changed: ${found} of ${expected.toFixed(1)}`).toBeLessThan(
        spread,
      );
    }
  });

  it('tells unlike texts apart, and short ones by what they are', () => {
    for (let n = 0; n < 100; n++)
      expect(sharesBand(wordsOf(`a${n}`, 300).join(' '), wordsOf(`b${n}`, 300).join(' '))).toBe(false);
    expect(sharesBand('one two', 'One, two!')).toBe(true);
    expect(sharesBand('one two', 'one three')).toBe(false);
    expect(bandsOf(cut('… !'))).toBeNull();
  });
});

describe('WordCutter', () => {
  it('cuts words whatever the case, signs and spaces, and scripts without spaces by the character', () => {
    const hashesOf = (text: string) => [...cut(text).hashes.subarray(0, cut(text).count)];
    expect(hashesOf('Ein  Haus, EIN haus')).toEqual([...hashesOf('ein haus'), ...hashesOf('ein haus')]);
    expect(cut('漢字かな mixed').count).toBe(5);
    expect(cut('e\u0301t\u0301').count).toBe(1);
    expect(cut('\u{1F600}').count).toBe(1);
    expect(cut('').count).toBe(0);
  });
});

describe('HashSet', () => {
  it('holds what was added, grows, and says when it may not', () => {
    const set = new HashSet({ maxBytes: 1 << 20, what: 'test' });
    const rng = new Rng(3);
    const seen = new Set<string>();
    const spread = (value: number): number => Math.imul(value, 0x9e3779b1) >>> 0;
    const wrong: number[] = [];
    for (let i = 0; i < 30_000; i++) {
      // Many are there already, and zeros too. Spread over all bits, as hashes are: what is alike lies in one place, and is sought there.
      const [low, high] = [spread(rng.below(300)), spread(rng.below(300))];
      const key = `${low}/${high || 1}`;
      if (set.add(low, high) === seen.has(key)) wrong.push(i);
      seen.add(key);
    }
    expect(wrong).toEqual([]);
    expect(set.size).toBe(seen.size);
    expect(HashSet.readOnly(set.shared()).has(301, 5)).toBe(false);
    expect(HashSet.readOnly(set.shared()).has(...([...seen][0]!.split('/').map(Number) as [number, number]))).toBe(
      true,
    );
    expect(() => {
      for (let i = 0; i < 1e6; i++) set.add(spread(i), i ^ 0x5555);
    }).toThrow(/--memory-mib/);
  });
});

describe('RecentHashes', () => {
  it('knows the newest, forgets the oldest, and never holds more than its memory', () => {
    const maxBytes = 1 << 18;
    const set = new RecentHashes({ maxBytes, what: 'test' });
    // Half of the memory: 2^14 places of 8 bytes, 0.6 of them taken.
    const half = Math.floor(0.6 * 2 ** 14);
    const count = 10 * half;
    const wrong: number[] = [];
    for (let i = 0; i < count; i++) {
      const isNew = set.add(i, ~i >>> 0);
      const isKnown = !set.add(i, ~i >>> 0) && (i < half || set.has(i - half, ~(i - half) >>> 0));
      if (!isNew || !isKnown) wrong.push(i);
    }
    expect(wrong).toEqual([]);
    expect(set.has(0, ~0 >>> 0)).toBe(false);
    expect(set.forgotten).toBeGreaterThanOrEqual(count - 2 * half);
    expect(set.forgotten).toBeLessThan(count - half);
    expect(set.add(0, ~0 >>> 0)).toBe(true);
  });
});
