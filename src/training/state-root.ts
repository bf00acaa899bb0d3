/**
 * @file The Merkle root of a learner's state, for its trace: RFC 6962 over the 4 MiB pieces of every buffer, one after
 * another. Which buffers, in which order, is the caller's; the root says nothing without that list.
 */
import { pieceHashes } from '../protocol/artifact.ts';
import { type Sha256, treeHash } from '../protocol/merkle.ts';
import type { Hash } from '../protocol/names.ts';
import { toHex } from '../util/bytes.ts';

/** `hash`: the platform's SHA-256; hashing must cost about 1 % of training. */
export function stateRootOf(buffers: readonly ArrayBufferView[], hash: Sha256): Hash {
  const leaves = buffers.flatMap((buffer) =>
    pieceHashes(new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength), hash),
  );
  return toHex(treeHash(leaves, hash)) as Hash;
}
