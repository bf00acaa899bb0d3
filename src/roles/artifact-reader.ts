/**
 * @file An artifact read by range, a few pieces in memory, and nothing believed: the first reading of a piece notes its hash,
 * `settle` holds all of them against the root, and every later reading of a piece must hash to the same. What was read before
 * `settle` is provisional.
 */
import type { ByteSource } from '../merge/codecs/fragment-reader.ts';
import { pieceBytes, pieceCountOf } from '../protocol/artifact.ts';
import type { Sha256 } from '../protocol/hash.ts';
import type { ArtifactRef } from '../protocol/manifest.ts';
import { leafHash, treeHash } from '../protocol/merkle.ts';
import { hashMismatch } from '../store/errors.ts';
import { equalBytes, toHex } from '../util/bytes.ts';

export type ReadPart = (artifact: ArtifactRef, range: { from: number; to: number }) => Promise<Uint8Array>;

/** A slice of the plan and its scales, and the one before. */
const heldPieces = 4;

export class ArtifactReader implements ByteSource {
  readonly #artifact: ArtifactRef;
  readonly #readPart: ReadPart;
  readonly #hash: Sha256;
  readonly #leaves: (Uint8Array | null)[];
  /** Oldest use first. */
  readonly #held = new Map<number, Uint8Array>();

  constructor(artifact: ArtifactRef, readPart: ReadPart, hash: Sha256) {
    this.#artifact = artifact;
    this.#readPart = readPart;
    this.#hash = hash;
    this.#leaves = new Array(pieceCountOf(artifact.sizeBytes)).fill(null);
  }

  get sizeBytes(): number {
    return this.#artifact.sizeBytes;
  }

  /** A view of a piece where the range lies in one. @throws StoreError; HASH_MISMATCH where a piece is another than before */
  async read(from: number, to: number): Promise<Uint8Array> {
    const first = Math.floor(from / pieceBytes);
    if (to <= (first + 1) * pieceBytes)
      return (await this.#piece(first)).subarray(from - first * pieceBytes, to - first * pieceBytes);
    const bytes = new Uint8Array(to - from);
    for (let at = from; at < to; ) {
      const index = Math.floor(at / pieceBytes);
      const end = Math.min(to, (index + 1) * pieceBytes);
      const piece = await this.#piece(index);
      bytes.set(piece.subarray(at - index * pieceBytes, end - index * pieceBytes), at - from);
      at = end;
    }
    return bytes;
  }

  /** Reads what was not read yet. @throws StoreError HASH_MISMATCH if the pieces are not the artifact */
  async settle(): Promise<void> {
    for (const [index, leaf] of this.#leaves.entries()) if (leaf === null) await this.#piece(index);
    const root = toHex(treeHash(this.#leaves as Uint8Array[], this.#hash));
    if (root !== this.#artifact.root) throw hashMismatch(this.#artifact.root, root);
  }

  /** Gives the memory of its pieces back; their hashes stay. */
  forget(): void {
    this.#held.clear();
  }

  async #piece(index: number): Promise<Uint8Array> {
    const held = this.#held.get(index);
    if (held !== undefined) {
      this.#held.delete(index);
      this.#held.set(index, held);
      return held;
    }
    const from = index * pieceBytes;
    const piece = await this.#readPart(this.#artifact, { from, to: Math.min(this.sizeBytes, from + pieceBytes) });
    const leaf = leafHash(piece, this.#hash);
    const known = this.#leaves[index] ?? null;
    if (known !== null && !equalBytes(known, leaf)) throw hashMismatch(this.#artifact.root, toHex(leaf));
    this.#leaves[index] = leaf;
    this.#held.set(index, piece);
    if (this.#held.size > heldPieces) this.#held.delete(this.#held.keys().next().value!);
    return piece;
  }
}
