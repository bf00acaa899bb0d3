/** @file States and claims of gigabytes that cost no disk: a header, then for each piece a window of one table of numbers. */
import { pieceBytes, pieceCountOf } from '../src/protocol/artifact.ts';
import type { ArtifactRef } from '../src/protocol/manifest.ts';
import { leafHash, treeHash } from '../src/protocol/merkle.ts';
import type { Hash } from '../src/protocol/names.ts';
import { toHex } from '../src/util/bytes.ts';
import { nodeSha256 } from '../src/util/node-sha256.ts';
import { Rng } from '../src/util/rng.ts';

/** Windows of the table, so that a name needs so many hashes and no more. */
const offsets = 64;
const rng = new Rng('merge at the real size');
export const table = new Float32Array((2 * pieceBytes) / 4);
for (let i = 0; i < table.length; i++) table[i] = (rng.uniform() - 0.5) * 1e-2;
const tableBytes = new Uint8Array(table.buffer);

/** A file of a header and numbers that are a window of the table for each piece. */
export class SyntheticFile {
  readonly sizeBytes: number;
  readonly #header: Uint8Array;
  readonly #salt: number;
  readonly #leaves = new Map<number, Uint8Array>();

  constructor(header: Uint8Array, sizeBytes: number, salt: number) {
    this.#header = header;
    this.sizeBytes = sizeBytes;
    this.#salt = salt;
  }

  read({ from, to }: { readonly from: number; readonly to: number }): Uint8Array {
    const index = Math.floor(from / pieceBytes);
    const start = this.#startOf(index) + from - index * pieceBytes;
    const bytes = tableBytes.slice(start, start + to - from);
    if (from < this.#header.byteLength) bytes.set(this.#header.subarray(from, Math.min(to, this.#header.byteLength)));
    return bytes;
  }

  /** At a byte that no header covers. */
  float(at: number): number {
    const index = Math.floor(at / pieceBytes);
    return table[(this.#startOf(index) + at - index * pieceBytes) / 4]!;
  }

  name(): ArtifactRef {
    const count = pieceCountOf(this.sizeBytes);
    const leaves = Array.from({ length: count }, (_, i) => {
      const from = i * pieceBytes;
      const isPlain = from >= this.#header.byteLength && i < count - 1;
      const known = isPlain ? this.#leaves.get(this.#startOf(i)) : undefined;
      if (known !== undefined) return known;
      const leaf = leafHash(this.read({ from, to: Math.min(this.sizeBytes, from + pieceBytes) }), nodeSha256);
      if (isPlain) this.#leaves.set(this.#startOf(i), leaf);
      return leaf;
    });
    return { root: toHex(treeHash(leaves, nodeSha256)) as Hash, sizeBytes: this.sizeBytes };
  }

  #startOf(index: number): number {
    return (((index * 40_503 + this.#salt * 977) >>> 0) % offsets) * (pieceBytes / offsets);
  }
}
