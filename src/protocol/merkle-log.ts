/**
 * @file A growing RFC 6962 tree that keeps every full subtree's root, so that the head of any prefix and the proofs between
 * two heads cost a few hashes. For who reads a whole journal; 64 bytes a leaf.
 */
import { assert } from '../util/errors.ts';
import { nodeHash } from './merkle.ts';

const hashBytes = 32;

/** Hashes one after the other in a buffer that doubles. */
class HashList {
  #bytes = new Uint8Array(64 * hashBytes);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(hash: Uint8Array): void {
    if ((this.#length + 1) * hashBytes > this.#bytes.byteLength) {
      const larger = new Uint8Array(this.#bytes.byteLength * 2);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes.set(hash, this.#length * hashBytes);
    this.#length++;
  }

  at(index: number): Uint8Array {
    return this.#bytes.subarray(index * hashBytes, (index + 1) * hashBytes);
  }
}

export class MerkleLog {
  /** `#levels[k]` holds the roots of the full subtrees of 2^k leaves. */
  readonly #levels: HashList[] = [new HashList()];

  get size(): number {
    return this.#levels[0]!.length;
  }

  /** `leaf`: hash of the leaf (`leafHash`). */
  append(leaf: Uint8Array): void {
    let hash = leaf;
    for (let level = 0; ; level++) {
      const list = (this.#levels[level] ??= new HashList());
      list.push(hash);
      if (list.length % 2 === 1) return;
      hash = nodeHash(list.at(list.length - 2), list.at(list.length - 1));
    }
  }

  leafAt(index: number): Uint8Array {
    assert(index >= 0 && index < this.size, `a log of ${this.size} leaves has no leaf ${index}`);
    return this.#levels[0]!.at(index);
  }

  /** Head of the tree of the first `size` leaves; 0 < size ≤ all. */
  rootAt(size: number): Uint8Array {
    assert(size > 0 && size <= this.size, `a log of ${this.size} leaves has no head of ${size}`);
    return this.#between(0, size);
  }

  /** PATH(index, first `size` leaves). */
  inclusionProof(index: number, size: number): Uint8Array[] {
    assert(index >= 0 && index < size && size <= this.size, `leaf ${index} is not in a tree of ${size}`);
    const path: Uint8Array[] = [];
    let [from, to] = [0, size];
    while (to - from > 1) {
      const middle = from + splitOf(to - from);
      const isLeft = index < middle;
      path.push(isLeft ? this.#between(middle, to) : this.#between(from, middle));
      [from, to] = isLeft ? [from, middle] : [middle, to];
    }
    return path.reverse();
  }

  /** PROOF(first, first `second` leaves). 0 < first ≤ second ≤ all. */
  consistencyProof(first: number, second: number): Uint8Array[] {
    assert(first > 0 && first <= second && second <= this.size, `a tree of ${second} has no prefix of ${first}`);
    const proof: Uint8Array[] = [];
    let [from, to, prefix, isWhole] = [0, second, first, true];
    while (prefix < to - from) {
      const split = splitOf(to - from);
      if (prefix <= split) {
        proof.push(this.#between(from + split, to));
        to = from + split;
      } else {
        proof.push(this.#between(from, from + split));
        from += split;
        prefix -= split;
        isWhole = false;
      }
    }
    if (!isWhole) proof.push(this.#between(from, to));
    return proof.reverse();
  }

  /** `from` is a multiple of the largest power of two in the range: RFC 6962 cuts nowhere else. */
  #between(from: number, to: number): Uint8Array {
    const size = to - from;
    const level = Math.log2(size);
    if (Number.isInteger(level)) return this.#levels[level]!.at(from / size);
    const middle = from + splitOf(size);
    return nodeHash(this.#between(from, middle), this.#between(middle, to));
  }
}

/** The largest power of two below `size` (RFC 6962's k). */
function splitOf(size: number): number {
  let split = 1;
  while (split * 2 < size) split *= 2;
  return split;
}
