/**
 * @file Byte-pair merges of one word: always the pair of the lowest rank, the leftmost of equals (Sennrich et al.,
 * arXiv:1508.07909). Short words by search, long ones with a heap, so that a megabyte without a space costs n·log n.
 */
import { utf8 } from '../util/bytes.ts';
import { byteAlphabet } from './pre-tokenizer.ts';

const longestSearched = 64;
const noRank = 0x7fffffff;

export interface MergeRules {
  /** Tokens as the byte alphabet writes them. */
  readonly vocab: Readonly<Record<string, number>>;
  /** In the order of their ranks. */
  readonly merges: readonly (readonly [string, string])[];
  /** A word that is a token by itself is not merged (`ignore_merges`). */
  readonly wholeWordsFirst: boolean;
}

export class WordMerger {
  readonly #idOfByte: Int32Array;
  readonly #whole: ReadonlyMap<string, number> | null;
  /** Open addressing, u32 a place: left + 1 (0: free), right, rank, merged id. */
  readonly #pairs: Uint32Array;
  readonly #mask: number;
  /** Of the pair that was looked up last. */
  #merged = 0;

  constructor({ vocab, merges, wholeWordsFirst }: MergeRules) {
    this.#idOfByte = Int32Array.from(byteAlphabet, (letter) => vocab[letter]!);
    this.#whole = wholeWordsFirst ? new Map(Object.entries(vocab)) : null;
    let size = 16;
    while (size < 3 * merges.length) size *= 2;
    this.#pairs = new Uint32Array(4 * size);
    this.#mask = size - 1;
    for (const [rank, [left, right]] of merges.entries()) {
      const ids = [vocab[left], vocab[right], vocab[left + right]];
      // A merge of tokens that are not there never happens.
      if (ids.every((id) => id !== undefined)) this.#enter(ids as [number, number, number], rank);
    }
  }

  #enter([left, right, merged]: readonly [number, number, number], rank: number): void {
    let place = hashOfPair(left, right) & this.#mask;
    while (this.#pairs[4 * place] !== 0) {
      if (this.#pairs[4 * place] === left + 1 && this.#pairs[4 * place + 1] === right) return;
      place = (place + 1) & this.#mask;
    }
    this.#pairs.set([left + 1, right, rank, merged], 4 * place);
  }

  /** The rank of a pair, whose merged id is then in `#merged`; `noRank`: it is not merged. */
  #rank(left: number, right: number): number {
    const pairs = this.#pairs;
    let place = hashOfPair(left, right) & this.#mask;
    for (;;) {
      const at = 4 * place;
      if (pairs[at] === 0) return noRank;
      if (pairs[at] === left + 1 && pairs[at + 1] === right) {
        this.#merged = pairs[at + 3]!;
        return pairs[at + 2]!;
      }
      place = (place + 1) & this.#mask;
    }
  }

  /** The ids of a word. */
  merge(word: string): ArrayLike<number> & Iterable<number> {
    const bytes = utf8(word);
    if (this.#whole !== null) {
      const id = this.#whole.get(Array.from(bytes, (byte) => byteAlphabet[byte]).join(''));
      if (id !== undefined) return [id];
    }
    const ids = Int32Array.from(bytes, (byte) => this.#idOfByte[byte]!);
    return ids.length <= longestSearched ? this.#mergeShort(ids) : this.#mergeLong(ids);
  }

  #mergeShort(ids: Int32Array): Int32Array {
    let length = ids.length;
    while (length > 1) {
      let [best, bestAt, bestId] = [noRank, -1, 0];
      for (let i = 0; i + 1 < length; i++) {
        const rank = this.#rank(ids[i]!, ids[i + 1]!);
        if (rank >= best) continue;
        [best, bestAt, bestId] = [rank, i, this.#merged];
      }
      if (bestAt < 0) break;
      ids[bestAt] = bestId;
      ids.copyWithin(bestAt + 1, bestAt + 2, length);
      length--;
    }
    return ids.subarray(0, length);
  }

  /** The word as a linked list; a heap of its pairs by (rank, place). Entries that a merge overtook are skipped. */
  #mergeLong(ids: Int32Array): Int32Array {
    const next = Int32Array.from(ids, (_, i) => i + 1);
    const before = Int32Array.from(ids, (_, i) => i - 1);
    const heap = new PairHeap();
    const offer = (at: number): void => {
      const after = at < 0 ? ids.length : next[at]!;
      if (after >= ids.length) return;
      const rank = this.#rank(ids[at]!, ids[after]!);
      if (rank !== noRank) heap.push({ rank, at, left: ids[at]!, right: ids[after]!, merged: this.#merged });
    };
    for (let i = 0; i + 1 < ids.length; i++) offer(i);
    for (let pair = heap.pop(); pair !== undefined; pair = heap.pop()) {
      const { at } = pair;
      const after = next[at]!;
      if (ids[at] !== pair.left || after >= ids.length || ids[after] !== pair.right) continue;
      ids[at] = pair.merged;
      ids[after] = -1;
      next[at] = next[after]!;
      if (next[at]! < ids.length) before[next[at]!] = at;
      offer(before[at]!);
      offer(at);
    }
    return ids.filter((id) => id >= 0);
  }
}

const hashOfPair = (left: number, right: number): number => {
  const hash = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
  return hash ^ (hash >>> 15);
};

interface Pair {
  readonly rank: number;
  readonly at: number;
  readonly left: number;
  readonly right: number;
  readonly merged: number;
}

const comesFirst = (a: Pair, b: Pair): boolean => a.rank < b.rank || (a.rank === b.rank && a.at < b.at);

class PairHeap {
  readonly #pairs: Pair[] = [];

  push(pair: Pair): void {
    const pairs = this.#pairs;
    let at = pairs.push(pair) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!comesFirst(pair, pairs[parent]!)) break;
      pairs[at] = pairs[parent]!;
      at = parent;
    }
    pairs[at] = pair;
  }

  pop(): Pair | undefined {
    const pairs = this.#pairs;
    const first = pairs[0];
    const last = pairs.pop();
    if (last === undefined || pairs.length === 0) return first;
    let at = 0;
    for (let child = 1; child < pairs.length; child = 2 * at + 1) {
      if (child + 1 < pairs.length && comesFirst(pairs[child + 1]!, pairs[child]!)) child++;
      if (!comesFirst(pairs[child]!, last)) break;
      pairs[at] = pairs[child]!;
      at = child;
    }
    pairs[at] = last;
    return first;
  }
}
