/**
 * @file The run's text on this machine: only the shards that leases need, fetched from the store ahead of their use, kept as
 * files up to a limit, checked when they come and when a process first finds them. Does file I/O.
 */
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { artifactOf } from '../protocol/artifact.ts';
import type { Shard } from '../protocol/manifest.ts';
import type { Store } from '../store/port.ts';
import type { Log } from '../util/clock.ts';
import { nodeSha256 } from '../util/node-sha256.ts';
import { writeAll } from '../util/node-write.ts';

export interface ShardCacheOptions {
  readonly dir: string;
  readonly store: Pick<Store, 'get'>;
  /** What is held is kept even where it is more. */
  readonly limitBytes: number;
  readonly log: Log;
  readonly signal: AbortSignal;
}

interface Kept {
  readonly sizeBytes: number;
  /** Holders; 0: it may go. */
  holds: number;
  /** Checked by this process. */
  isChecked: boolean;
}

const ending = '.tokens';
/** Fetches at once: a whole lease must not fill the memory. */
const maxFetches = 2;

export const shardPath = (dir: string, root: string): string => join(dir, `${root}${ending}`);

export class ShardCache {
  readonly #options: ShardCacheOptions;
  /** In the order of use, the oldest first. */
  readonly #kept: Map<string, Kept>;
  readonly #fetching = new Map<string, Promise<void>>();
  #waiting: (() => void)[] = [];
  #running = 0;

  private constructor(options: ShardCacheOptions, kept: Map<string, Kept>) {
    this.#options = options;
    this.#kept = kept;
  }

  /** Takes over what an earlier process left; what it left unfinished goes. */
  static async open(options: ShardCacheOptions): Promise<ShardCache> {
    const { dir } = options;
    await mkdir(dir, { recursive: true });
    const found: { readonly root: string; readonly sizeBytes: number; readonly usedMs: number }[] = [];
    for (const name of await readdir(dir)) {
      const path = join(dir, name);
      if (name.includes('.partial')) await rm(path, { force: true });
      if (!name.endsWith(ending)) continue;
      const info = await stat(path);
      found.push({ root: name.slice(0, -ending.length), sizeBytes: info.size, usedMs: info.mtimeMs });
    }
    found.sort((a, b) => a.usedMs - b.usedMs || (a.root < b.root ? -1 : 1));
    const kept = new Map(found.map(({ root, sizeBytes }) => [root, { sizeBytes, holds: 0, isChecked: false }]));
    const cache = new ShardCache(options, kept);
    await cache.#makeRoom(0);
    return cache;
  }

  get sizeBytes(): number {
    let sum = 0;
    for (const { sizeBytes } of this.#kept.values()) sum += sizeBytes;
    return sum;
  }

  /** Roots at hand, the one used longest ago first. */
  roots(): readonly string[] {
    return [...this.#kept.keys()];
  }

  /**
   * Resolves when all of them are files; they stay until `release`. Failures: StoreError, and what the file system throws;
   * then none is held.
   */
  async hold(shards: Iterable<Shard>): Promise<void> {
    const wanted = distinct(shards);
    const held: Shard[] = [];
    try {
      for (const shard of wanted) {
        await this.#need(shard);
        this.#kept.get(shard.artifact.root)!.holds++;
        held.push(shard);
      }
    } catch (error) {
      this.release(held);
      throw error;
    }
  }

  release(shards: Iterable<Shard>): void {
    for (const { artifact } of distinct(shards)) {
      const kept = this.#kept.get(artifact.root);
      if (kept !== undefined && kept.holds > 0) kept.holds--;
    }
  }

  /** Fetches what will be needed soon, in this order, as far as the limit goes. What fails is fetched when it is held. */
  async fetchAhead(shards: Iterable<Shard>): Promise<void> {
    const { limitBytes, log, signal } = this.#options;
    let sum = 0;
    for (const shard of distinct(shards)) {
      sum += shard.artifact.sizeBytes;
      if (sum > limitBytes || signal.aborted) return;
      await this.#need(shard).catch((error) => log.debug('shard not fetched ahead', { error: String(error) }));
    }
  }

  async #need(shard: Shard): Promise<void> {
    const { root } = shard.artifact;
    const under = this.#fetching.get(root);
    if (under !== undefined) {
      await under;
      // It may have been thrown out meanwhile.
      return this.#kept.has(root) ? undefined : await this.#need(shard);
    }
    const work = this.#findOrFetch(shard).finally(() => this.#fetching.delete(root));
    this.#fetching.set(root, work);
    await work;
  }

  async #findOrFetch(shard: Shard): Promise<void> {
    const { root } = shard.artifact;
    const path = shardPath(this.#options.dir, root);
    const kept = this.#kept.get(root);
    if (kept !== undefined && (kept.isChecked || (await isWhole(path, root)))) {
      // Moved to the end: used last.
      this.#kept.delete(root);
      this.#kept.set(root, kept);
      kept.isChecked = true;
      const now = new Date();
      await utimes(path, now, now).catch(() => {}); // only the order after a restart
      return;
    }
    await this.#slot(() => this.#fetch(shard, path));
  }

  async #fetch({ artifact, source, stage }: Shard, path: string): Promise<void> {
    const { store, signal, log } = this.#options;
    const bytes = await store.get(artifact, { signal });
    await this.#makeRoom(artifact.sizeBytes);
    const partial = `${path}.partial-${process.pid}`;
    const file = await open(partial, 'w');
    try {
      await writeAll(file, bytes);
    } finally {
      await file.close();
    }
    await rename(partial, path);
    this.#kept.delete(artifact.root);
    this.#kept.set(artifact.root, { sizeBytes: artifact.sizeBytes, holds: 0, isChecked: true });
    log.debug('shard fetched', { source, stage, sizeBytes: artifact.sizeBytes });
  }

  /** Removes those used longest ago that nobody holds. */
  async #makeRoom(sizeBytes: number): Promise<void> {
    const { limitBytes, dir } = this.#options;
    for (const [root, kept] of this.#kept) {
      if (this.sizeBytes + sizeBytes <= limitBytes) return;
      if (kept.holds > 0 || this.#fetching.has(root)) continue;
      this.#kept.delete(root);
      await rm(shardPath(dir, root), { force: true });
    }
  }

  async #slot(work: () => Promise<void>): Promise<void> {
    while (this.#running >= maxFetches) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#running++;
    try {
      await work();
    } finally {
      this.#running--;
      this.#waiting.shift()?.();
    }
  }
}

function distinct(shards: Iterable<Shard>): readonly Shard[] {
  const byRoot = new Map<string, Shard>();
  for (const shard of shards) byRoot.set(shard.artifact.root, shard);
  return [...byRoot.values()];
}

async function isWhole(path: string, root: string): Promise<boolean> {
  const bytes = await readFile(path).catch(() => null);
  return bytes !== null && artifactOf(bytes, nodeSha256).root === root;
}
