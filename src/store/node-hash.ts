/** @file Artifact roots by node:crypto, of bytes at hand or as they stream by (the tree of `protocol/artifact.ts`). */
import { createHash } from 'node:crypto';
import { pieceBytes } from '../protocol/artifact.ts';
import type { ArtifactRef } from '../protocol/manifest.ts';
import { appendLeaf, frontierRoot, leafPrefix, type Peak } from '../protocol/merkle.ts';
import type { Hash } from '../protocol/names.ts';
import { toHex } from '../util/bytes.ts';
import { hashMismatch, sizeMismatch } from './errors.ts';

const newPiece = () => createHash('sha256').update(leafPrefix);

/** Takes bytes in chunks of any size; memory does not grow with them. */
export class ArtifactHasher {
  #frontier: readonly Peak[] = [];
  #piece = newPiece();
  #pieceFilled = 0;
  #sizeBytes = 0;

  update(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.byteLength; ) {
      const take = Math.min(pieceBytes - this.#pieceFilled, chunk.byteLength - at);
      this.#piece.update(chunk.subarray(at, at + take));
      this.#pieceFilled += take;
      at += take;
      if (this.#pieceFilled === pieceBytes) this.#endPiece();
    }
    this.#sizeBytes += chunk.byteLength;
  }

  /** The artifact of all bytes taken; once. */
  finish(): ArtifactRef {
    if (this.#pieceFilled > 0) this.#endPiece();
    return { root: toHex(frontierRoot(this.#frontier)) as Hash, sizeBytes: this.#sizeBytes };
  }

  #endPiece(): void {
    this.#frontier = appendLeaf(this.#frontier, this.#piece.digest());
    this.#piece = newPiece();
    this.#pieceFilled = 0;
  }
}

export function hashArtifact(bytes: Uint8Array): ArtifactRef {
  const hasher = new ArtifactHasher();
  hasher.update(bytes);
  return hasher.finish();
}

/** Throws `SIZE_MISMATCH` or `HASH_MISMATCH` unless the bytes are the artifact. */
export function checkArtifact(expected: ArtifactRef, bytes: Uint8Array): void {
  if (bytes.byteLength !== expected.sizeBytes) {
    throw sizeMismatch(expected.root, expected.sizeBytes, bytes.byteLength);
  }
  const { root } = hashArtifact(bytes);
  if (root !== expected.root) throw hashMismatch(expected.root, root);
}
