/** @file Pages of a shard: each is proved by its group's record, and by nothing else; the index names only what has pages. */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { artifactOf } from '../protocol/artifact.ts';
import type { Shard } from '../protocol/manifest.ts';
import { leafHash, treeHash } from '../protocol/merkle.ts';
import { nodeSha256 as hash } from '../util/node-sha256.ts';
import {
  buildPages,
  decodePageIndex,
  encodePageIndex,
  groupBytes,
  groupPages,
  isPageOf,
  pageBytes,
  pageCountOf,
  pageHashesOf,
  recordBytesOf,
  recordRange,
} from './shard-pages.ts';

/** Each page another text. */
function bytesOf(sizeBytes: number): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  for (let page = 0; page < pageCountOf(sizeBytes); page++)
    bytes.set(
      createHash('sha256')
        .update(`page ${page}`)
        .digest()
        .subarray(0, sizeBytes - page * pageBytes),
      page * pageBytes,
    );
  return bytes;
}

const pageOf = (bytes: Uint8Array, page: number): Uint8Array =>
  bytes.subarray(page * pageBytes, (page + 1) * pageBytes);

describe('pages of a shard', () => {
  // Of 1, 2, 3, 5 and 7 groups: ways of unequal lengths; last groups and pages that are not full.
  const sizes = [
    1,
    pageBytes,
    groupBytes,
    groupBytes + 1,
    2 * groupBytes + 3 * pageBytes,
    5 * groupBytes - 7,
    7 * groupBytes,
  ];

  it.each(sizes)('of %d bytes are proved by the record of their group, and by no other', (sizeBytes) => {
    const bytes = bytesOf(sizeBytes);
    const { root, table } = buildPages(bytes, hash);
    const count = pageCountOf(sizeBytes);
    // The tree over all pages, as RFC 6962 has it.
    expect(root).toEqual(
      treeHash(
        Array.from({ length: count }, (_, i) => leafHash(pageOf(bytes, i), hash)),
        hash,
      ),
    );
    const recordOf = (page: number): Uint8Array => {
      const { from, to } = recordRange(sizeBytes, page);
      return table.subarray(from, to);
    };
    expect(table.byteLength % recordBytesOf(sizeBytes)).toBe(0);
    for (const page of new Set([0, 1, groupPages - 1, groupPages, count >> 1, count - 1])) {
      if (page >= count) continue;
      const hashes = pageHashesOf(recordOf(page), { root, sizeBytes, page }, hash)!;
      expect(isPageOf(pageOf(bytes, page), hashes[page % groupPages]!, hash), `${page}`).toBe(true);
      const changed = recordOf(page).slice();
      changed[0]! ^= 1;
      expect(pageHashesOf(changed, { root, sizeBytes, page }, hash), `${page}`).toBeNull();
      expect(pageHashesOf(recordOf(page).subarray(1), { root, sizeBytes, page }, hash)).toBeNull();
      const other = page < groupPages ? page + groupPages : page - groupPages;
      if (other < count) expect(pageHashesOf(recordOf(other), { root, sizeBytes, page }, hash), `${page}`).toBeNull();
    }
  });

  it('cost less than a thousandth of the shard', () => {
    const sizeBytes = 4 * 2 ** 27;
    const tableBytes = (pageCountOf(sizeBytes) / groupPages) * recordBytesOf(sizeBytes);
    expect(tableBytes / sizeBytes).toBeLessThan(1 / 1_800);
    expect(recordBytesOf(sizeBytes)).toBe(32 * (64 + 7));
  });

  it('the index gives each paged shard its root and table, and refuses another length', () => {
    const shards = [3, 2 * groupBytes].map((sizeBytes, i): Shard => {
      const bytes = bytesOf(sizeBytes);
      return { source: `s${i}`, artifact: artifactOf(bytes, hash), tokens: 1, licence: 'CC0', stage: 'train' };
    });
    const { root, table } = buildPages(bytesOf(2 * groupBytes), hash);
    const paged = { root: Uint8Array.from(root), table: artifactOf(table, hash) };
    const index = encodePageIndex([null, paged]);
    expect(decodePageIndex(index, shards)).toEqual(new Map([[shards[1]!.artifact.root, paged]]));
    expect(() => decodePageIndex(index, shards.slice(1))).toThrow(/128 bytes for 1 shards/);
  });
});
