/** @file The cache of shards: what is needed, no more than the limit, held while it is read, checked, taken over. */
import { readdirSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { buildPages, pageBytes, recordBytesOf } from '../data/shard-pages.ts';
import { encodeShard, type TextPlace } from '../data/shards.ts';
import { artifactOf } from '../protocol/artifact.ts';
import type { ArtifactRef, Shard } from '../protocol/manifest.ts';
import { silentLog } from '../util/clock.ts';
import { nodeSha256 } from '../util/node-sha256.ts';
import { ShardCache, shardPath } from './shard-cache.ts';
import { ShardFiles } from './shard-files.ts';

const tokens = 512;
const contents = Array.from({ length: 6 }, (_, n) =>
  encodeShard(
    Array.from({ length: tokens }, (_, i) => (7 * i + n) % 1000),
    1000,
  ),
);
const shards: Shard[] = contents.map((bytes, n) => ({
  ...{ source: `s${n}`, artifact: artifactOf(bytes), tokens, licence: 'CC0', stage: 'train' },
}));
const sizeBytes = 2 * tokens;

let dir = '';
let fetched: string[] = [];
/** Called before each answer. */
let gate: (root: string) => Promise<void> = async () => {};
const store = {
  async get({ root }: ArtifactRef): Promise<Uint8Array> {
    fetched.push(root);
    await gate(root);
    return contents[shards.findIndex(({ artifact }) => artifact.root === root)]!;
  },
};
const openCache = (limit: number): Promise<ShardCache> =>
  ShardCache.open({
    ...{ dir, store, vocabSize: 1000, pages: new Map(), limitBytes: limit * sizeBytes },
    ...{ log: silentLog, signal: new AbortController().signal },
  });
const rootsOf = (...indices: number[]): string[] => indices.map((i) => shards[i]!.artifact.root);
const some = (...indices: number[]): TextPlace[] => indices.map((i) => ({ shard: shards[i]!, offset: 0, length: 1 }));

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'accrete-shards-'));
  fetched = [];
  gate = async () => {};
});
afterEach(() => rm(dir, { recursive: true }));

describe('ShardCache', () => {
  it('fetches what is held, once, and gives its tokens in parts', async () => {
    const cache = await openCache(10);
    await Promise.all([cache.hold(some(2, 2, 3)), cache.hold(some(3))]);
    expect([...fetched].sort()).toEqual(rootsOf(2, 3).sort());
    const files = new ShardFiles(dir, 1000);
    expect([...files.read(shards[2]!, 100, 3)!]).toEqual([702, 709, 716]);
    expect(files.read(shards[0]!, 0, 3)).toBeUndefined();
    expect(() => files.read(shards[2]!, tokens - 1, 2)).toThrow(/ends before/);
    expect(() => new ShardFiles(dir, 500).read(shards[2]!, 100, 3)).toThrow(/token 0 is 702/);
  });

  it('stays within its limit, and throws out what was used longest ago and is not held', async () => {
    const cache = await openCache(3);
    await cache.hold(some(0));
    await cache.hold(some(1, 2));
    cache.release(some(1, 2));
    await cache.hold(some(1)); // used again: 2 is now the oldest that may go
    cache.release(some(1));
    await cache.hold(some(3));
    expect(cache.keys()).toEqual(rootsOf(0, 1, 3));
    expect((await readdir(dir)).sort()).toEqual(
      rootsOf(0, 1, 3)
        .map((root) => `${root}.tokens`)
        .sort(),
    );
    expect(cache.sizeBytes).toBe(3 * sizeBytes);
  });

  it('keeps what is held even beyond the limit, and goes back below it afterwards', async () => {
    const cache = await openCache(1);
    await cache.hold(some(0, 1, 2));
    // Fetched side by side, in whatever order they come.
    expect([...cache.keys()].sort()).toEqual(rootsOf(0, 1, 2).sort());
    cache.release(some(0, 1, 2));
    await cache.hold(some(3));
    expect(cache.keys()).toEqual(rootsOf(3));
  });

  it('fetches ahead in the order of use, as far as the limit goes, and a hold then waits for what is on its way', async () => {
    const cache = await openCache(2);
    let open = (): void => {};
    gate = () =>
      new Promise((resolve) => {
        open = resolve;
        gate = async () => {};
      });
    const ahead = cache.fetchAhead(some(0, 1, 2));
    const held = cache.hold(some(0));
    await new Promise((resolve) => setImmediate(resolve));
    expect(fetched).toEqual(rootsOf(0));
    open();
    await Promise.all([ahead, held]);
    expect(fetched).toEqual(rootsOf(0, 1));
  });

  it('holds nothing where one fails, and fetches ahead without failing', async () => {
    const cache = await openCache(10);
    gate = async (root) => {
      if (root === shards[1]!.artifact.root) throw new Error('away');
    };
    await cache.fetchAhead(some(1));
    await expect(cache.hold(some(0, 1))).rejects.toThrow('away');
    gate = async () => {};
    await cache.hold(some(1));
    expect(cache.keys()).toEqual(rootsOf(0, 1));
  });

  it('takes over an earlier process: checks before use, removes halves, and keeps within its own limit', async () => {
    const before = await openCache(10);
    await before.hold(some(0, 1, 2));
    await writeFile(shardPath(dir, shards[1]!.artifact.root), contents[0]!);
    await writeFile(`${shardPath(dir, shards[4]!.artifact.root)}.partial-1`, 'half');
    fetched = [];
    const cache = await openCache(10);
    await cache.hold(some(0, 1));
    expect(fetched).toEqual(rootsOf(1));
    expect((await readdir(dir)).filter((name) => name.includes('partial'))).toEqual([]);
    expect((await openCache(1)).keys()).toHaveLength(1);
  });
});

describe('ShardCache of pages', () => {
  const pageTokens = pageBytes / 4;
  const vocabSize = 100_000;
  // Two groups and a half of pages.
  const count = 160 * pageTokens - 5;
  const idAt = (i: number): number => (i * 7_919) % vocabSize;
  const bytes = encodeShard(
    Array.from({ length: count }, (_, i) => idAt(i)),
    vocabSize,
  );
  const shard: Shard = { source: 'large', artifact: artifactOf(bytes), tokens: count, licence: 'CC0', stage: 'train' };
  const { root, table } = buildPages(bytes, nodeSha256);
  const tableRef = artifactOf(table);
  const pages = new Map([[shard.artifact.root as string, { root, table: tableRef }]]);
  const place = (offset: number, length: number): TextPlace => ({ shard, offset, length });
  const pageKey = (page: number): string => `${shard.artifact.root}-${page}`;

  let reads: string[] = [];
  let spoil: (root: string, part: Uint8Array) => Uint8Array = (_, part) => part;
  const openPaged = (limitBytes: number): Promise<ShardCache> =>
    ShardCache.open({
      ...{ dir, vocabSize, pages, limitBytes, log: silentLog, signal: new AbortController().signal },
      store: {
        get: async () => Promise.reject(new Error('the whole shard was asked for')),
        parts: {
          read: async (artifact, { from, to }) => {
            const of = artifact.root === tableRef.root ? table : bytes;
            reads.push(`${artifact.root === tableRef.root ? 'table' : 'shard'} ${from}-${to}`);
            return spoil(artifact.root, of.slice(from, to));
          },
        },
      },
    });
  beforeEach(() => {
    reads = [];
    spoil = (_, part) => part;
  });

  it('joins neighbours into one request, of 4 MiB at most, in whatever order they are asked for', async () => {
    const cache = await openPaged(1 << 30);
    // Held already: it is not asked for again, and parts what lies around it.
    await cache.hold([place(20 * pageTokens, 10)]);
    reads = [];
    await cache.hold([99, 3, 19, 2, 21, 4, 50, 51, 18, 22].map((page) => place(page * pageTokens + 7, 9)));
    const shardReads = reads.filter((read) => read.startsWith('shard'));
    const range = (from: number, to: number): string => `shard ${from * pageBytes}-${to * pageBytes}`;
    // Whichever record came first.
    expect(new Set(shardReads)).toEqual(
      new Set([range(99, 100), range(2, 5), range(18, 20), range(21, 23), range(50, 52)]),
    );
    reads = [];
    await (await openPaged(1 << 30)).hold([place(0, count)]);
    expect(reads.filter((read) => read.startsWith('shard'))).toEqual([
      range(0, 64),
      range(64, 128),
      `shard ${128 * pageBytes}-${bytes.byteLength}`,
    ]);
    expect([...new ShardFiles(dir, vocabSize).read(shard, 0, count)!]).toEqual(
      Array.from({ length: count }, (_, i) => idAt(i)),
    );
  });

  it('joins what is fetched ahead, and what is held meanwhile waits for its own page alone', async () => {
    const cache = await openPaged(1 << 30);
    const pages = Array.from({ length: 40 }, (_, i) => (7 * i) % 40); // 0 to 39, none beside its neighbour
    const ahead = cache.fetchAhead(pages.map((page) => place(page * pageTokens, 10)));
    await cache.hold([place(11 * pageTokens, 10)]);
    await ahead;
    expect(reads.filter((read) => read.startsWith('shard'))).toHaveLength(3);
    expect(cache.keys()).toHaveLength(40);
  });

  it('proves each page of a joined read by itself: the right ones stay, and who waits for those has them', async () => {
    const cache = await openPaged(1 << 30);
    let isSpoilt = false;
    spoil = (root, part) => {
      // The third page of the run.
      if (root === shard.artifact.root && part.byteLength > 3 * pageBytes) {
        part[2 * pageBytes + 7]! ^= 1;
        isSpoilt = true;
      }
      return part;
    };
    const held = cache.hold([place(0, 5 * pageTokens)]);
    const other = cache.hold([place(4 * pageTokens, 10)]);
    await expect(held).rejects.toMatchObject({ code: 'HASH_MISMATCH', message: expect.stringContaining('page 2') });
    await other;
    expect(isSpoilt).toBe(true);
    expect([...cache.keys()].sort()).toEqual([0, 1, 3, 4].map(pageKey));
    await cache.hold([place(0, 5 * pageTokens)]);
    expect(reads.at(-1)).toBe(`shard ${2 * pageBytes}-${3 * pageBytes}`);
  });

  it('fetches the pages of a sequence and one record a group, and reads across pages', async () => {
    const cache = await openPaged(1 << 30);
    const places = [place(10, 100), place(pageTokens - 50, 100), place(count - 20, 20)];
    await cache.hold(places);
    const record = recordBytesOf(bytes.byteLength);
    expect(reads.sort()).toEqual(
      [
        `shard 0-${2 * pageBytes}`,
        `shard ${159 * pageBytes}-${bytes.byteLength}`,
        `table 0-${record}`,
        `table ${2 * record}-${3 * record}`,
      ].sort(),
    );
    const files = new ShardFiles(dir, vocabSize);
    for (const { offset, length } of places)
      expect([...files.read(shard, offset, length)!], `${offset}`).toEqual(
        Array.from({ length }, (_, i) => idAt(offset + i)),
      );
    expect(files.read(shard, 5 * pageTokens, 3)).toBeUndefined();
    expect(cache.sizeBytes).toBe(3 * pageBytes - 20);
  });

  it('takes no page and no record that the root does not prove, and goes on once they are right', async () => {
    const cache = await openPaged(1 << 30);
    // Each of another group: a record that was right stays known.
    for (const [spoiled, offset] of [
      [shard.artifact.root, 0],
      [tableRef.root, 70 * pageTokens],
    ] as const) {
      spoil = (root, part) => {
        if (root === spoiled) part[7]! ^= 1;
        return part;
      };
      await expect(cache.hold([place(offset, 5)]), spoiled).rejects.toMatchObject({ code: 'HASH_MISMATCH' });
      expect(cache.keys()).toEqual([]);
      expect(new ShardFiles(dir, vocabSize).read(shard, offset, 5)).toBeUndefined();
    }
    spoil = (_, part) => part;
    await cache.hold([place(0, 5)]);
    expect(cache.keys()).toEqual([pageKey(0)]);
  });

  it('never takes more bytes than its limit, with many fetches at once, and keeps what is held', async () => {
    const limit = 40 * pageBytes;
    const folder = join(dir, 'pages', shard.artifact.root.slice(0, 2));
    const cache = await openPaged(limit);
    const held = [place(0, 2 * pageTokens)];
    await cache.hold(held);
    expect(readdirSync(folder)).toHaveLength(2);
    let most = 0;
    spoil = (_, part) => {
      most = Math.max(most, readdirSync(folder).filter((name) => !name.includes('partial')).length * pageBytes);
      return part;
    };
    await Promise.all(
      Array.from({ length: 150 }, (_, i) => cache.fetchAhead([place((2 + i) * pageTokens, pageTokens)])),
    );
    expect(most).toBeLessThanOrEqual(limit);
    expect(cache.sizeBytes).toBe(limit);
    expect(cache.keys()).toEqual(expect.arrayContaining([pageKey(0), pageKey(1)]));
    expect(readdirSync(folder).sort()).toEqual([...cache.keys()].sort());
  });

  it('fetches ahead no more than its limit', async () => {
    const cache = await openPaged(5 * pageBytes);
    await cache.fetchAhead(Array.from({ length: 100 }, (_, i) => place(i * pageTokens, 10)));
    expect([...cache.keys()].sort()).toEqual([0, 1, 2, 3, 4].map(pageKey));
  });

  it('begins without the pages of an earlier process', async () => {
    await (await openPaged(1 << 30)).hold([place(0, 5)]);
    expect((await openPaged(1 << 30)).keys()).toEqual([]);
    expect(new ShardFiles(dir, vocabSize).read(shard, 0, 5)).toBeUndefined();
  });
});
