/** @file Hashes over bytes that come in pieces: SHA-256, git's of a blob, and the root of an artifact. Node's, for speed. */
import { createHash, type Hash } from 'node:crypto';
import { leafPrefix } from '../protocol/merkle.ts';
import { ArtifactHasher } from '../store/node-hash.ts';
import { utf8 } from '../util/bytes.ts';
import type { FileCheck } from './source.ts';

export interface RunningHash {
  update(bytes: Uint8Array): void;
  /** In hexadecimal. */
  finish(): string;
}

export function hashOfWhole({ algorithm }: Extract<FileCheck, { kind: 'whole' }>, sizeBytes: number): RunningHash {
  if (algorithm === 'artifact-root') {
    const hasher = new ArtifactHasher();
    return { update: (bytes) => hasher.update(bytes), finish: () => hasher.finish().root };
  }
  if (algorithm === 'sha256') return running(createHash('sha256'));
  return running(createHash('sha1').update(utf8(`blob ${sizeBytes}\0`)));
}

/** Of one piece, as the leaves of an artifact's tree are hashed. */
export const hashOfPiece = (): RunningHash => running(createHash('sha256').update(leafPrefix));

const running = (hash: Hash): RunningHash => ({
  update: (bytes) => void hash.update(bytes),
  finish: () => hash.digest('hex'),
});
