/**
 * @file Trains a byte-level BPE vocabulary from word counts (Sennrich et al., arXiv:1508.07909). Deterministic: the most
 * frequent pair is merged next, and among equals the one with the smallest (left id, right id), which is the rule of
 * Hugging Face's trainer, so that the merges are the same.
 */
import { utf8 } from '../util/bytes.ts';
import { DataError } from './errors.ts';
import { byteAlphabet, bytesInIdOrder } from './pre-tokenizer.ts';

export interface BpeVocabulary {
  /** Token texts in the byte alphabet, by id: 256 bytes, then the merges' results. No special tokens. */
  readonly tokens: readonly string[];
  /** Pairs of token texts in rank order. */
  readonly merges: readonly (readonly [left: string, right: string])[];
}

export interface TrainedBpe extends BpeVocabulary {
  /**
   * Each word cut into indices of `tokens`. That is what encoding it gives: a pair's parts come from earlier merges than
   * the pair, so that merging by rank in each word is merging in rank order over all.
   */
  readonly pieces: readonly Int32Array[];
}

export interface BpeOptions {
  /** Tokens wanted, at least 256; fewer come out where no pair is left. Special tokens are added elsewhere. */
  readonly tokenCount: number;
}

/** Ids stay below this, so that a pair of them is one exact number. */
const ID_BOUND = 2 ** 21;

interface Pair {
  count: number;
  /** Words that hold, or held, the pair; ascending and each once. */
  words: number[];
}

/** `words[i]` occurs `counts[i]` times; one that occurs 0 times decides nothing and is cut all the same. */
export function trainBpe(words: readonly string[], counts: ArrayLike<number>, options: BpeOptions): TrainedBpe {
  const { tokenCount } = options;
  if (!Number.isSafeInteger(tokenCount) || tokenCount < 256 || tokenCount >= ID_BOUND) {
    throw new DataError('BAD_TOKENIZER', `BPE: expected 256 to ${ID_BOUND - 1} tokens, got ${tokenCount}`);
  }
  const tokens = bytesInIdOrder.map((byte) => byteAlphabet[byte]!);
  const idOf = new Map(tokens.map((token, id) => [token, id]));
  const merges: [string, string][] = [];
  const state = new TrainingState(words, counts);
  while (tokens.length < tokenCount) {
    const key = state.popBest();
    if (key === null) break;
    const [left, right] = [Math.floor(key / ID_BOUND), key % ID_BOUND];
    const text = tokens[left]! + tokens[right]!;
    // Two ways of cutting the same bytes give one token.
    let id = idOf.get(text);
    if (id === undefined) {
      id = tokens.length;
      tokens.push(text);
      idOf.set(text, id);
    }
    merges.push([tokens[left]!, tokens[right]!]);
    state.merge(left, right, id);
  }
  return { tokens, merges, pieces: state.words };
}

/** The words as symbols, and an index of the pairs in them. */
class TrainingState {
  readonly words: Int32Array[];
  readonly #counts: ArrayLike<number>;
  readonly #pairs = new Map<number, Pair>();
  readonly #heap = new PairHeap();

  constructor(words: readonly string[], counts: ArrayLike<number>) {
    const idOfByte = new Int32Array(256);
    bytesInIdOrder.forEach((byte, id) => {
      idOfByte[byte] = id;
    });
    this.words = words.map((word) => Int32Array.from(utf8(word), (byte) => idOfByte[byte]!));
    this.#counts = counts;
    this.words.forEach((symbols, word) => {
      for (let k = 0; k + 1 < symbols.length; k++) this.#addPair(symbols[k]!, symbols[k + 1]!, word);
    });
    for (const [key, pair] of this.#pairs) this.#heap.push(pair.count, key);
  }

  /** Key of the next pair, or null. Counts in the heap may be stale: too high ones go back in with the true count. */
  popBest(): number | null {
    for (let top = this.#heap.pop(); top !== null; top = this.#heap.pop()) {
      const count = this.#pairs.get(top.key)?.count ?? 0;
      if (count === top.count && count > 0) return top.key;
      if (count > 0 && count < top.count) this.#heap.push(count, top.key);
    }
    return null;
  }

  /** Replaces left·right by `id`, from left to right, in every word that holds it. */
  merge(left: number, right: number, id: number): void {
    const key = left * ID_BOUND + right;
    const { words } = this.#pairs.get(key)!;
    const touched = new Set<number>();
    for (const word of words) this.#mergeWord(word, left, right, id, touched);
    this.#pairs.delete(key);
    touched.delete(key);
    for (const changed of touched) {
      const pair = this.#pairs.get(changed);
      if (pair !== undefined && pair.count > 0) this.#heap.push(pair.count, changed);
    }
  }

  #mergeWord(word: number, left: number, right: number, id: number, touched: Set<number>): void {
    const symbols = this.words[word]!;
    let length = 0;
    for (let read = 0; read < symbols.length; read++) {
      if (symbols[read] !== left || symbols[read + 1] !== right) {
        symbols[length++] = symbols[read]!;
        continue;
      }
      if (length > 0) {
        this.#removePair(symbols[length - 1]!, left, word);
        touched.add(this.#addPair(symbols[length - 1]!, id, word));
      }
      if (read + 2 < symbols.length) {
        this.#removePair(right, symbols[read + 2]!, word);
        touched.add(this.#addPair(id, symbols[read + 2]!, word));
      }
      symbols[length++] = id;
      read++;
    }
    this.words[word] = symbols.subarray(0, length);
  }

  #addPair(left: number, right: number, word: number): number {
    const key = left * ID_BOUND + right;
    const pair = this.#pairs.get(key);
    const count = this.#counts[word]!;
    if (pair === undefined) {
      this.#pairs.set(key, { count, words: [word] });
    } else {
      pair.count += count;
      if (pair.words.at(-1) !== word) pair.words.push(word);
    }
    return key;
  }

  #removePair(left: number, right: number, word: number): void {
    const pair = this.#pairs.get(left * ID_BOUND + right);
    if (pair !== undefined) pair.count -= this.#counts[word]!;
  }
}

/** A binary heap: greatest count first, then smallest key. */
class PairHeap {
  readonly #counts: number[] = [];
  readonly #keys: number[] = [];

  push(count: number, key: number): void {
    let at = this.#counts.length;
    this.#counts.push(count);
    this.#keys.push(key);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#isBefore(at, parent)) break;
      this.#swap(at, parent);
      at = parent;
    }
  }

  pop(): { readonly count: number; readonly key: number } | null {
    if (this.#counts.length === 0) return null;
    const last = this.#counts.length - 1;
    this.#swap(0, last);
    const top = { count: this.#counts.pop()!, key: this.#keys.pop()! };
    for (let at = 0; ; ) {
      let first = at;
      for (let child = 2 * at + 1; child <= 2 * at + 2 && child < last; child++) {
        if (this.#isBefore(child, first)) first = child;
      }
      if (first === at) return top;
      this.#swap(at, first);
      at = first;
    }
  }

  #isBefore(a: number, b: number): boolean {
    const [x, y] = [this.#counts[a]!, this.#counts[b]!];
    return x > y || (x === y && this.#keys[a]! < this.#keys[b]!);
  }

  #swap(a: number, b: number): void {
    [this.#counts[a], this.#counts[b]] = [this.#counts[b]!, this.#counts[a]!];
    [this.#keys[a], this.#keys[b]] = [this.#keys[b]!, this.#keys[a]!];
  }
}
