/** @file Merkle trees against certificate-transparency's roots, and proofs of every place in trees of many sizes. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { fromHex, toHex } from '../util/bytes.ts';
import { arePieceHashes, artifactOf, isArtifact, isPiece, pieceBytes, pieceHashes, pieceProof } from './artifact.ts';
import { hashOfText, hashWith } from './hash.ts';
import {
  appendLeaf,
  consistencyProof,
  frontierRoot,
  inclusionProof,
  leafHash,
  type Peak,
  treeHash,
  verifyConsistency,
  verifyInclusion,
} from './merkle.ts';

// By the portable program, whose vectors these are, too.
hashWith(null);

const vectors = JSON.parse(
  readFileSync(new URL('../../tests/vectors/protocol/rfc6962.json', import.meta.url), 'utf8'),
) as { leaves: string[]; roots: string[] };
const known = vectors.leaves.map((leaf) => leafHash(fromHex(leaf)!));
const leavesOf = (size: number) => Array.from({ length: size }, (_, i) => leafHash(fromHex(hashOfText(`leaf ${i}`))!));
const flip = (hash: Uint8Array): Uint8Array => hash.with(5, hash[5]! ^ 1);

describe('merkle trees', () => {
  it('have the roots of certificate-transparency, at once and leaf by leaf', () => {
    let frontier: Peak[] = [];
    for (const [size, root] of vectors.roots.entries()) {
      expect(toHex(treeHash(known.slice(0, size))), `size ${size}`).toBe(root);
      expect(toHex(frontierRoot(frontier)), `frontier ${size}`).toBe(root);
      if (size < known.length) frontier = appendLeaf(frontier, known[size]!);
    }
  });

  it('prove each leaf, and nothing else in its place', () => {
    for (const size of [1, 2, 3, 5, 7, 8, 13, 33]) {
      const leaves = leavesOf(size);
      const root = treeHash(leaves);
      for (const [index, leaf] of leaves.entries()) {
        const proof = inclusionProof(leaves, index);
        const good = { leaf, index, size, proof, root };
        const label = `leaf ${index} of ${size}`;
        expect(verifyInclusion(good), label).toBe(true);
        expect(verifyInclusion({ ...good, leaf: flip(leaf) }), label).toBe(false);
        expect(verifyInclusion({ ...good, root: flip(root) }), label).toBe(false);
        expect(verifyInclusion({ ...good, proof: [...proof, leaf] }), label).toBe(false);
        if (size > 1) {
          expect(verifyInclusion({ ...good, index: (index + 1) % size }), label).toBe(false);
          expect(verifyInclusion({ ...good, proof: proof.slice(1) }), label).toBe(false);
          expect(verifyInclusion({ ...good, proof: [flip(proof[0]!), ...proof.slice(1)] }), label).toBe(false);
        }
        for (const wrong of [-1, size, 0.5]) expect(verifyInclusion({ ...good, index: wrong }), label).toBe(false);
      }
    }
  });

  it('prove that each tree goes on from each shorter one', () => {
    for (const second of [1, 2, 3, 4, 6, 7, 8, 9, 21, 32]) {
      const leaves = leavesOf(second);
      const secondRoot = treeHash(leaves);
      for (let first = 1; first <= second; first++) {
        const firstRoot = treeHash(leaves.slice(0, first));
        const proof = consistencyProof(leaves, first);
        const good = { first, firstRoot, second, secondRoot, proof };
        const label = `${first} in ${second}`;
        expect(verifyConsistency(good), label).toBe(true);
        expect(verifyConsistency({ ...good, firstRoot: flip(firstRoot) }), label).toBe(false);
        expect(verifyConsistency({ ...good, secondRoot: flip(secondRoot) }), label).toBe(false);
        expect(verifyConsistency({ ...good, proof: [...proof, firstRoot] }), label).toBe(false);
        if (proof.length > 0) expect(verifyConsistency({ ...good, proof: proof.slice(1) }), label).toBe(false);
      }
    }
  });
});

describe('artifacts', () => {
  const bytes = new Uint8Array(2 * pieceBytes + 5).map((_, i) => (i * 7 + (i >> 20)) & 255);

  it('are named by the tree of their pieces', () => {
    expect(artifactOf(new Uint8Array()).root).toBe(vectors.roots[0]);
    expect(artifactOf(Uint8Array.of())).toEqual({ root: vectors.roots[0], sizeBytes: 0 });
    expect(toHex(leafHash(new Uint8Array()))).toBe(vectors.roots[1]);
    const artifact = artifactOf(bytes);
    expect(artifact.sizeBytes).toBe(bytes.length);
    expect(isArtifact(artifact, bytes)).toBe(true);
    expect(isArtifact(artifact, bytes.subarray(1))).toBe(false);
    expect(isArtifact({ ...artifact, sizeBytes: 7 }, bytes)).toBe(false);
  });

  it('are proved piece by piece', () => {
    const artifact = artifactOf(bytes);
    const hashes = pieceHashes(bytes);
    expect(arePieceHashes(artifact, hashes)).toBe(true);
    expect(arePieceHashes(artifact, hashes.slice(1))).toBe(false);
    for (const index of [0, 1, 2]) {
      const piece = bytes.slice(index * pieceBytes, (index + 1) * pieceBytes);
      const proof = pieceProof(hashes, index);
      expect(isPiece(artifact, index, piece, proof), `piece ${index}`).toBe(true);
      expect(isPiece(artifact, (index + 1) % 3, piece, proof), `piece ${index} elsewhere`).toBe(false);
      piece[3]! ^= 1;
      expect(isPiece(artifact, index, piece, proof), `changed piece ${index}`).toBe(false);
      expect(isPiece(artifact, index, piece.subarray(1), proof), `short piece ${index}`).toBe(false);
    }
  });
});
