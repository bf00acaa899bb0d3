/** @file The cache of shards: what is needed, no more than the limit, held while it is read, checked, taken over. */
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeShard } from '../data/shards.ts';
import { artifactOf } from '../protocol/artifact.ts';
import type { ArtifactRef, Shard } from '../protocol/manifest.ts';
import { silentLog } from '../util/clock.ts';
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
  ShardCache.open({ dir, store, limitBytes: limit * sizeBytes, log: silentLog, signal: new AbortController().signal });
const rootsOf = (...indices: number[]): string[] => indices.map((i) => shards[i]!.artifact.root);
const some = (...indices: number[]): Shard[] => indices.map((i) => shards[i]!);

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
    expect(cache.roots()).toEqual(rootsOf(0, 1, 3));
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
    expect(cache.roots()).toEqual(rootsOf(0, 1, 2));
    cache.release(some(0, 1, 2));
    await cache.hold(some(3));
    expect(cache.roots()).toEqual(rootsOf(3));
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
    expect(cache.roots()).toEqual(rootsOf(0, 1));
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
    expect((await openCache(1)).roots()).toHaveLength(1);
  });
});
