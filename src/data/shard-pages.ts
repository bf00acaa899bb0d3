/**
 * @file Pages of large shards: a sequence of 16 KiB must not cost a shard of 512 MiB, nor the 4 MiB of an artifact's piece. A shard is
 * cut into pages of 64 KiB, an RFC 6962 tree stands over their hashes, and a table beside the shard has for each group of 64
 * pages their hashes and the group's way to the root: one read of a record proves any page of its group. An index of 64 bytes
 * a shard (the tree's root, the table's name) is one artifact of the manifest. Table and index are 1/1,900 of the shards.
 */
import type { ArtifactRef, Shard } from '../protocol/manifest.ts';
import { inclusionProof, leafHash, type Sha256, treeHash, verifyInclusion } from '../protocol/merkle.ts';
import type { Hash } from '../protocol/names.ts';
import { equalBytes, fromHex, toHex } from '../util/bytes.ts';
import { assert } from '../util/errors.ts';
import { DataError } from './errors.ts';

export const pageBytes = 65_536;
/** A power of two: then the tree over the groups' roots is the tree over the pages. */
export const groupPages = 64;
export const groupBytes = groupPages * pageBytes;
/** Smaller shards are fetched whole: they are a few reads of a page's worth of waiting. */
export const pagedFromBytes = 16 << 20;
const hashBytes = 32;
const rowBytes = 2 * hashBytes;

export const pageCountOf = (sizeBytes: number): number => Math.ceil(sizeBytes / pageBytes);
const groupCountOf = (sizeBytes: number): number => Math.ceil(pageCountOf(sizeBytes) / groupPages);

/** Hashes of a group's pages, then of the longest way from a group to the root; what is not there is zero. */
export function recordBytesOf(sizeBytes: number): number {
  let depth = 0;
  while (2 ** depth < groupCountOf(sizeBytes)) depth++;
  return hashBytes * (groupPages + depth);
}

export interface PagedShard {
  readonly root: Uint8Array;
  readonly table: ArtifactRef;
}

/** The root over a shard's pages, and its table. */
export interface ShardPages {
  readonly root: Uint8Array;
  readonly table: Uint8Array;
}

/** Makes them of the shard's groups as they come: memory for their hashes, not for the shard. */
export class PageTree {
  readonly #hash: Sha256;
  readonly #groups: (readonly Uint8Array[])[] = [];
  #sizeBytes = 0;

  constructor(hash: Sha256) {
    this.#hash = hash;
  }

  /** The next `groupBytes` of the shard; at its end what is left. */
  add(group: Uint8Array): void {
    assert(this.#sizeBytes % groupBytes === 0 && group.byteLength <= groupBytes, 'PageTree: a group within a group');
    this.#groups.push(
      Array.from({ length: pageCountOf(group.byteLength) }, (_, i) =>
        leafHash(group.subarray(i * pageBytes, (i + 1) * pageBytes), this.#hash),
      ),
    );
    this.#sizeBytes += group.byteLength;
  }

  finish(): ShardPages {
    const roots = this.#groups.map((group) => treeHash(group, this.#hash));
    const recordBytes = recordBytesOf(this.#sizeBytes);
    const table = new Uint8Array(this.#groups.length * recordBytes);
    for (const [g, group] of this.#groups.entries()) {
      for (const [i, page] of group.entries()) table.set(page, g * recordBytes + i * hashBytes);
      const wayAt = g * recordBytes + groupPages * hashBytes;
      for (const [i, node] of inclusionProof(roots, g).entries()) table.set(node, wayAt + i * hashBytes);
    }
    return { root: treeHash(roots, this.#hash), table };
  }
}

export function buildPages(bytes: Uint8Array, hash: Sha256): ShardPages {
  const tree = new PageTree(hash);
  for (let at = 0; at < bytes.byteLength; at += groupBytes) tree.add(bytes.subarray(at, at + groupBytes));
  return tree.finish();
}

/** Where in the table the record of a page lies. */
export function recordRange(sizeBytes: number, page: number): { readonly from: number; readonly to: number } {
  const recordBytes = recordBytesOf(sizeBytes);
  const from = Math.floor(page / groupPages) * recordBytes;
  return { from, to: from + recordBytes };
}

/** Hashes of the pages of a record's group; null: the record is not that of the group `page` is in. */
export function pageHashesOf(
  record: Uint8Array,
  { root, sizeBytes, page }: { readonly root: Uint8Array; readonly sizeBytes: number; readonly page: number },
  hash: Sha256,
): readonly Uint8Array[] | null {
  if (record.byteLength !== recordBytesOf(sizeBytes)) return null;
  const hashAt = (i: number): Uint8Array => record.slice(i * hashBytes, (i + 1) * hashBytes);
  const index = Math.floor(page / groupPages);
  const count = Math.min(groupPages, pageCountOf(sizeBytes) - index * groupPages);
  const pages = Array.from({ length: count }, (_, i) => hashAt(i));
  const size = groupCountOf(sizeBytes);
  const proof = Array.from({ length: wayLength(index, size) }, (_, i) => hashAt(groupPages + i));
  return verifyInclusion({ leaf: treeHash(pages, hash), index, size, proof, root }) ? pages : null;
}

/** Nodes between a leaf and the root of an RFC 6962 tree: of its last leaves fewer than of the others. */
function wayLength(index: number, size: number): number {
  let length = 0;
  for (let [node, last] = [index, size - 1]; last > 0; [node, last] = [node >>> 1, last >>> 1])
    if (node % 2 === 1 || node < last) length++;
  return length;
}

export const isPageOf = (page: Uint8Array, expected: Uint8Array, hash: Sha256): boolean =>
  equalBytes(leafHash(page, hash), expected);

/** A row a shard, in the manifest's order; null: the shard has no pages. */
export function encodePageIndex(rows: readonly (PagedShard | null)[]): Uint8Array {
  const bytes = new Uint8Array(rows.length * rowBytes);
  for (const [i, row] of rows.entries()) {
    if (row === null) continue;
    bytes.set(row.root, i * rowBytes);
    bytes.set(fromHex(row.table.root)!, i * rowBytes + hashBytes);
  }
  return bytes;
}

/** The paged shards by the root of their artifact. @throws DataError DAMAGED */
export function decodePageIndex(bytes: Uint8Array, shards: readonly Shard[]): ReadonlyMap<string, PagedShard> {
  if (bytes.byteLength !== shards.length * rowBytes)
    throw new DataError('DAMAGED', `index of pages: ${bytes.byteLength} bytes for ${shards.length} shards`);
  const paged = new Map<string, PagedShard>();
  for (const [i, { artifact }] of shards.entries()) {
    const row = bytes.subarray(i * rowBytes, (i + 1) * rowBytes);
    if (row.every((byte) => byte === 0)) continue;
    const sizeBytes = groupCountOf(artifact.sizeBytes) * recordBytesOf(artifact.sizeBytes);
    const table = { root: toHex(row.subarray(hashBytes)) as Hash, sizeBytes };
    paged.set(artifact.root, { root: row.slice(0, hashBytes), table });
  }
  return paged;
}
