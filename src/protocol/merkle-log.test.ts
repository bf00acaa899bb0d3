/** @file The growing tree against the plain one: every head, every proof of small trees. */
import { describe, expect, it } from 'vitest';
import { utf8 } from '../util/bytes.ts';
import { hashWith } from './hash.ts';
import { consistencyProof, inclusionProof, leafHash, treeHash } from './merkle.ts';
import { MerkleLog } from './merkle-log.ts';

// By the portable program, as in a browser.
hashWith(null);

describe('a Merkle log', () => {
  it('gives the heads and proofs of RFC 6962 at every size', () => {
    const leaves = Array.from({ length: 70 }, (_, i) => leafHash(utf8(`entry ${i}`)));
    const log = new MerkleLog();
    for (const leaf of leaves) log.append(leaf);
    for (let size = 1; size <= leaves.length; size++) {
      const part = leaves.slice(0, size);
      expect(log.rootAt(size), `head of ${size}`).toEqual(treeHash(part));
      for (let i = 0; i < size; i += 3)
        expect(log.inclusionProof(i, size), `leaf ${i} of ${size}`).toEqual(inclusionProof(part, i));
      for (let first = 1; first <= size; first += 2)
        expect(log.consistencyProof(first, size), `${first} of ${size}`).toEqual(consistencyProof(part, first));
    }
  });
});
