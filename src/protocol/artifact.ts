/**
 * @file Artifacts: bytes named by the RFC 6962 root over the SHA-256 of their 4 MiB pieces, so that they can be fetched
 * from anybody, resumed, and checked piece by piece.
 */
import { equalBytes, fromHex, toHex } from '../util/bytes.ts';
import { type Sha256, sha256 } from './hash.ts';
import type { ArtifactRef } from './manifest.ts';
import { inclusionProof, leafHash, leafPrefix, treeHash, verifyInclusion } from './merkle.ts';
import type { Hash } from './names.ts';

export const pieceBytes = 4 * 1024 * 1024;

export const pieceCountOf = (sizeBytes: number): number => Math.ceil(sizeBytes / pieceBytes);

/** Leaf hashes of the pieces, in order; none for no bytes. */
export function pieceHashes(bytes: Uint8Array, hash: Sha256 = sha256): Uint8Array[] {
  return Array.from({ length: pieceCountOf(bytes.byteLength) }, (_, i) =>
    leafHash(bytes.subarray(i * pieceBytes, (i + 1) * pieceBytes), hash),
  );
}

/** Names bytes that lie in several buffers as if one followed the other; copies nothing. */
export function artifactOfParts(parts: readonly Uint8Array[], hash: Sha256 = sha256): ArtifactRef {
  const leaves: Uint8Array[] = [];
  let piece: Uint8Array[] = [];
  let filled = 0;
  const endPiece = (): void => {
    leaves.push(hash(leafPrefix, ...piece));
    [piece, filled] = [[], 0];
  };
  for (const part of parts) {
    for (let at = 0; at < part.byteLength; ) {
      const take = Math.min(pieceBytes - filled, part.byteLength - at);
      piece.push(part.subarray(at, at + take));
      at += take;
      filled += take;
      if (filled === pieceBytes) endPiece();
    }
  }
  if (filled > 0) endPiece();
  const sizeBytes = parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
  return { root: toHex(treeHash(leaves, hash)) as Hash, sizeBytes };
}

/** Names the bytes. An adapter may hand in a native SHA-256. */
export function artifactOf(bytes: Uint8Array, hash: Sha256 = sha256): ArtifactRef {
  return { root: toHex(treeHash(pieceHashes(bytes, hash))) as Hash, sizeBytes: bytes.byteLength };
}

/** Whether the bytes are the artifact: size first, then root. */
export function isArtifact(artifact: ArtifactRef, bytes: Uint8Array, hash: Sha256 = sha256): boolean {
  return bytes.byteLength === artifact.sizeBytes && artifactOf(bytes, hash).root === artifact.root;
}

/** Proof that piece `index` belongs to the artifact with these piece hashes. */
export const pieceProof = (hashes: readonly Uint8Array[], index: number): Uint8Array[] => inclusionProof(hashes, index);

/** Whether one piece belongs at its place; its length must be what the artifact's size says. */
export function isPiece(
  artifact: ArtifactRef,
  index: number,
  piece: Uint8Array,
  proof: readonly Uint8Array[],
  hash: Sha256 = sha256,
): boolean {
  const size = pieceCountOf(artifact.sizeBytes);
  const expectedBytes = Math.min(pieceBytes, artifact.sizeBytes - index * pieceBytes);
  if (piece.byteLength !== expectedBytes) return false;
  return verifyInclusion({ leaf: leafHash(piece, hash), index, size, proof, root: fromHex(artifact.root)! });
}

/** Whether the leaf hashes (from an untrusted list) are the artifact's; then each piece is checked by one hash. */
export function arePieceHashes(artifact: ArtifactRef, hashes: readonly Uint8Array[]): boolean {
  return hashes.length === pieceCountOf(artifact.sizeBytes) && equalBytes(treeHash(hashes), fromHex(artifact.root)!);
}
