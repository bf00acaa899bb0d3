/** @file RFC 6962 Merkle trees over byte strings: heads, inclusion proofs and consistency proofs, made and verified. */
import { sha256 } from '@noble/hashes/sha2.js';
import { concatBytes, equalBytes } from '../util/bytes.ts';

export type Sha256 = (bytes: Uint8Array) => Uint8Array;

const leafPrefix = Uint8Array.of(0);
const nodePrefix = Uint8Array.of(1);

export const leafHash = (leaf: Uint8Array, hash: Sha256 = sha256): Uint8Array => hash(concatBytes(leafPrefix, leaf));
export const nodeHash = (left: Uint8Array, right: Uint8Array, hash: Sha256 = sha256): Uint8Array =>
  hash(concatBytes(nodePrefix, left, right));

/** Largest power of two below n (n ≥ 2). */
function splitOf(n: number): number {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

/** Head of a tree from its leaf hashes; of none, the hash of nothing. */
export function treeHash(leaves: readonly Uint8Array[], hash: Sha256 = sha256): Uint8Array {
  if (leaves.length === 0) return hash(new Uint8Array(0));
  if (leaves.length === 1) return leaves[0]!;
  const k = splitOf(leaves.length);
  return nodeHash(treeHash(leaves.slice(0, k), hash), treeHash(leaves.slice(k), hash), hash);
}

/** PATH(m, D[n]) of RFC 6962 section 2.1.1, lowest sibling first. */
export function inclusionProof(leaves: readonly Uint8Array[], index: number): Uint8Array[] {
  if (leaves.length <= 1) return [];
  const k = splitOf(leaves.length);
  return index < k
    ? [...inclusionProof(leaves.slice(0, k), index), treeHash(leaves.slice(k))]
    : [...inclusionProof(leaves.slice(k), index - k), treeHash(leaves.slice(0, k))];
}

/** RFC 9162 section 2.1.3.2. */
export function verifyInclusion(proof: {
  readonly leaf: Uint8Array;
  readonly index: number;
  readonly size: number;
  readonly path: readonly Uint8Array[];
  readonly root: Uint8Array;
}): boolean {
  if (proof.index >= proof.size) return false;
  let node = proof.index;
  let last = proof.size - 1;
  let hash = proof.leaf;
  for (const sibling of proof.path) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      hash = nodeHash(sibling, hash);
      while (node % 2 === 0 && node !== 0) {
        node = Math.floor(node / 2);
        last = Math.floor(last / 2);
      }
    } else hash = nodeHash(hash, sibling);
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 && equalBytes(hash, proof.root);
}

/** PROOF(m, D[n]) of RFC 6962 section 2.1.2. */
export function consistencyProof(leaves: readonly Uint8Array[], size: number): Uint8Array[] {
  const prove = (part: readonly Uint8Array[], m: number, isWhole: boolean): Uint8Array[] => {
    if (m === part.length) return isWhole ? [] : [treeHash(part)];
    const k = splitOf(part.length);
    return m <= k
      ? [...prove(part.slice(0, k), m, isWhole), treeHash(part.slice(k))]
      : [...prove(part.slice(k), m - k, false), treeHash(part.slice(0, k))];
  };
  return size === 0 ? [] : prove(leaves, size, true);
}

/** RFC 9162 section 2.1.4.2: the tree of `second` leaves extends the one of `first`. */
export function verifyConsistency(proof: {
  readonly first: number;
  readonly second: number;
  readonly firstRoot: Uint8Array;
  readonly secondRoot: Uint8Array;
  readonly path: readonly Uint8Array[];
}): boolean {
  const { first, second, firstRoot, secondRoot } = proof;
  if (first > second) return false;
  if (first === 0) return proof.path.length === 0;
  if (first === second) return proof.path.length === 0 && equalBytes(firstRoot, secondRoot);
  const isPowerOfTwo = Number.isInteger(Math.log2(first));
  const path = isPowerOfTwo ? [firstRoot, ...proof.path] : [...proof.path];
  let node = first - 1;
  let last = second - 1;
  while (node % 2 === 1) {
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  const start = path[0];
  if (start === undefined) return false;
  let oldHash = start;
  let newHash = start;
  for (const sibling of path.slice(1)) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      oldHash = nodeHash(sibling, oldHash);
      newHash = nodeHash(sibling, newHash);
      while (node % 2 === 0 && node !== 0) {
        node = Math.floor(node / 2);
        last = Math.floor(last / 2);
      }
    } else newHash = nodeHash(newHash, sibling);
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 && equalBytes(oldHash, firstRoot) && equalBytes(newHash, secondRoot);
}

/** One complete subtree of a growing tree. */
export interface Peak {
  readonly size: number;
  readonly root: Uint8Array;
}

/** Adds a leaf to the peaks (largest first) of a tree, joining equal ones. */
export function appendPeak(peaks: readonly Peak[], leaf: Uint8Array): Peak[] {
  const next = [...peaks];
  let added: Peak = { size: 1, root: leaf };
  while (next.at(-1)?.size === added.size) {
    const left = next.pop()!;
    added = { size: left.size * 2, root: nodeHash(left.root, added.root) };
  }
  next.push(added);
  return next;
}

/** Head of the tree with these peaks. */
export function rootOfPeaks(peaks: readonly Peak[]): Uint8Array {
  if (peaks.length === 0) return sha256(new Uint8Array(0));
  return peaks.slice(0, -1).reduceRight((right, left) => nodeHash(left.root, right), peaks.at(-1)!.root);
}
