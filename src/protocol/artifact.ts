/**
 * @file Artifacts: bytes named by the root of the RFC 6962 tree over their 4 MiB pieces, so that they can be fetched in
 * parallel from anybody, resumed, checked piece by piece, and proved in part.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { toHex } from '../util/bytes.ts';
import type { ArtifactRef } from './manifest.ts';
import { leafHash, type Sha256, treeHash, verifyInclusion } from './merkle.ts';
import type { Hash } from './names.ts';

export const pieceBytes = 4 * 1024 * 1024;

/** Leaf hash of each piece; of no bytes, none. */
export function pieceHashes(bytes: Uint8Array, hash: Sha256 = sha256): Uint8Array[] {
  const hashes: Uint8Array[] = [];
  for (let from = 0; from < bytes.byteLength; from += pieceBytes)
    hashes.push(leafHash(bytes.subarray(from, from + pieceBytes), hash));
  return hashes;
}

/** `hash`: a faster SHA-256 where the platform has one. */
export function artifactRefOf(bytes: Uint8Array, hash: Sha256 = sha256): ArtifactRef {
  return { root: toHex(treeHash(pieceHashes(bytes, hash), hash)) as Hash, sizeBytes: bytes.byteLength };
}

export function matchesArtifact(bytes: Uint8Array, artifact: ArtifactRef, hash: Sha256 = sha256): boolean {
  return bytes.byteLength === artifact.sizeBytes && artifactRefOf(bytes, hash).root === artifact.root;
}

/** Root from the piece hashes alone. */
export const rootOfPieces = (hashes: readonly Uint8Array[]): Hash => toHex(treeHash(hashes)) as Hash;

/** Whether one piece belongs to an artifact, given its audit path. */
export function verifyPiece(options: {
  readonly piece: Uint8Array;
  readonly index: number;
  readonly artifact: ArtifactRef;
  readonly path: readonly Uint8Array[];
}): boolean {
  const { piece, index, artifact, path } = options;
  const size = Math.ceil(artifact.sizeBytes / pieceBytes);
  const expected = index === size - 1 ? artifact.sizeBytes - index * pieceBytes : pieceBytes;
  if (piece.byteLength !== expected) return false;
  const root = new Uint8Array(Buffer.from(artifact.root, 'hex'));
  return verifyInclusion({ leaf: leafHash(piece), index, size, path, root });
}
