/**
 * @file RFC 6962 Merkle trees over hashed leaves: head, inclusion and consistency proofs, and a frontier that grows leaf
 * by leaf. Leaves and nodes have different prefixes (0 and 1), so no node can pass for a leaf.
 */
import { equalBytes } from '../util/bytes.ts';
import { assert } from '../util/errors.ts';
import { type Sha256, sha256 } from './hash.ts';

export type { Sha256 };

/** Goes before a leaf's bytes. */
export const leafPrefix = Uint8Array.of(0);
const nodePrefix = Uint8Array.of(1);

export const leafHash = (leaf: Uint8Array, hash: Sha256 = sha256): Uint8Array => hash(leafPrefix, leaf);
export const nodeHash = (left: Uint8Array, right: Uint8Array, hash: Sha256 = sha256): Uint8Array =>
  hash(nodePrefix, left, right);

/** The largest power of two below `size` (RFC 6962's k). */
function splitOf(size: number): number {
  let split = 1;
  while (split * 2 < size) split *= 2;
  return split;
}

/** MTH of the leaves with these hashes; SHA-256 of nothing for none. */
export function treeHash(leaves: readonly Uint8Array[], hash: Sha256 = sha256): Uint8Array {
  if (leaves.length === 0) return hash(new Uint8Array());
  return rootBetween(leaves, 0, leaves.length, hash);
}

function rootBetween(leaves: readonly Uint8Array[], from: number, to: number, hash: Sha256 = sha256): Uint8Array {
  if (to - from === 1) return leaves[from]!;
  const middle = from + splitOf(to - from);
  return nodeHash(rootBetween(leaves, from, middle, hash), rootBetween(leaves, middle, to, hash), hash);
}

/** PATH(index, leaves), from the leaf up. */
export function inclusionProof(leaves: readonly Uint8Array[], index: number): Uint8Array[] {
  assert(index >= 0 && index < leaves.length, `leaf ${index} is not in a tree of ${leaves.length}`);
  const path: Uint8Array[] = [];
  let [from, to] = [0, leaves.length];
  while (to - from > 1) {
    const middle = from + splitOf(to - from);
    if (index < middle) {
      path.push(rootBetween(leaves, middle, to));
      to = middle;
    } else {
      path.push(rootBetween(leaves, from, middle));
      from = middle;
    }
  }
  return path.reverse();
}

/** RFC 9162 section 2.1.3.2. False for any proof that is not exactly the one for this place. */
export function verifyInclusion(options: {
  readonly leaf: Uint8Array;
  readonly index: number;
  readonly size: number;
  readonly proof: readonly Uint8Array[];
  readonly root: Uint8Array;
}): boolean {
  const { leaf, index, size, proof, root } = options;
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size) || index < 0 || index >= size) return false;
  let [node, last, hash] = [index, size - 1, leaf];
  for (const sibling of proof) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      hash = nodeHash(sibling, hash);
      while (node % 2 === 0 && node !== 0) [node, last] = [half(node), half(last)];
    } else hash = nodeHash(hash, sibling);
    [node, last] = [half(node), half(last)];
  }
  return last === 0 && equalBytes(hash, root);
}

const half = (n: number): number => Math.floor(n / 2);

/** PROOF(first, leaves): that the tree of the first `first` leaves is a prefix of the whole. 0 < first ≤ size. */
export function consistencyProof(leaves: readonly Uint8Array[], first: number): Uint8Array[] {
  assert(first > 0 && first <= leaves.length, `a tree of ${leaves.length} has no prefix of ${first}`);
  const proof: Uint8Array[] = [];
  let [from, to, isWhole] = [0, leaves.length, true];
  let prefix = first;
  while (prefix < to - from) {
    const split = splitOf(to - from);
    if (prefix <= split) {
      proof.push(rootBetween(leaves, from + split, to));
      to = from + split;
    } else {
      proof.push(rootBetween(leaves, from, from + split));
      from += split;
      prefix -= split;
      isWhole = false;
    }
  }
  if (!isWhole) proof.push(rootBetween(leaves, from, to));
  return proof.reverse();
}

/** RFC 9162 section 2.1.4.2. */
export function verifyConsistency(options: {
  readonly first: number;
  readonly firstRoot: Uint8Array;
  readonly second: number;
  readonly secondRoot: Uint8Array;
  readonly proof: readonly Uint8Array[];
}): boolean {
  const { first, firstRoot, second, secondRoot, proof } = options;
  if (!Number.isSafeInteger(first) || !Number.isSafeInteger(second) || first < 1 || first > second) return false;
  if (first === second) return proof.length === 0 && equalBytes(firstRoot, secondRoot);
  const isPowerOfTwo = Number.isInteger(Math.log2(first));
  const path = isPowerOfTwo ? [firstRoot, ...proof] : proof;
  if (path.length === 0) return false;
  let [node, last] = [first - 1, second - 1];
  while (node % 2 === 1) [node, last] = [half(node), half(last)];
  let [old, young] = [path[0]!, path[0]!];
  for (const sibling of path.slice(1)) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      old = nodeHash(sibling, old);
      young = nodeHash(sibling, young);
      while (node % 2 === 0 && node !== 0) [node, last] = [half(node), half(last)];
    } else young = nodeHash(young, sibling);
    [node, last] = [half(node), half(last)];
  }
  return last === 0 && equalBytes(old, firstRoot) && equalBytes(young, secondRoot);
}

/** A perfect subtree of `size` leaves. A frontier lists them by falling size: all that a growing tree needs. */
export interface Peak {
  readonly size: number;
  readonly root: Uint8Array;
}

export function appendLeaf(frontier: readonly Peak[], leaf: Uint8Array): Peak[] {
  const peaks = [...frontier];
  let peak: Peak = { size: 1, root: leaf };
  for (let last = peaks.at(-1); last !== undefined && last.size === peak.size; last = peaks.at(-1)) {
    peaks.pop();
    peak = { size: last.size * 2, root: nodeHash(last.root, peak.root) };
  }
  return [...peaks, peak];
}

/** The tree's head; as `treeHash` of all leaves. */
export function frontierRoot(frontier: readonly Peak[]): Uint8Array {
  if (frontier.length === 0) return sha256(new Uint8Array());
  return frontier.map((peak) => peak.root).reduceRight((right, left) => nodeHash(left, right));
}
