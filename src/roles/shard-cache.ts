/**
 * @file The run's text on this machine: only what leases and judgements need, fetched from the store ahead of its use, kept as files up to
 * a limit in bytes. Small shards come whole and stay over restarts, checked when they come and when a process first finds
 * them; of shards with pages (`data/shard-pages.ts`) only the pages come, each proved, and a new process begins without. Does file I/O.
 */
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { groupPages, isPageOf, type PagedShard, pageBytes, pageHashesOf, recordRange } from '../data/shard-pages.ts';
import { bytesPerToken, type TextPlace } from '../data/shards.ts';
import { artifactOf } from '../protocol/artifact.ts';
import type { Shard } from '../protocol/manifest.ts';
import { hashMismatch, StoreError } from '../store/errors.ts';
import type { Store } from '../store/port.ts';
import type { Log } from '../util/clock.ts';
import { nodeSha256 } from '../util/node-sha256.ts';
import { writeAll } from '../util/node-write.ts';

export interface ShardCacheOptions {
  readonly dir: string;
  readonly store: Pick<Store, 'get' | 'parts'>;
  readonly vocabSize: number;
  /** Of `decodePageIndex`; empty: every shard comes whole. */
  readonly pages: ReadonlyMap<string, PagedShard>;
  /** What is held is kept even where it is more. */
  readonly limitBytes: number;
  readonly log: Log;
  readonly signal: AbortSignal;
}

interface Kept {
  readonly sizeBytes: number;
  readonly path: string;
  /** Checked by this process. */
  isChecked: boolean;
}

/** What comes and goes as one: a shard or a page of one. */
interface Unit {
  readonly key: string;
  readonly shard: Shard;
  /** Null: the whole shard. */
  readonly page: number | null;
  readonly sizeBytes: number;
}

const ending = '.tokens';
const pagesName = 'pages';
/** Fetches at once. Two shards are a gigabyte of memory; of pages the waiting counts. */
const maxFetches = { shard: 2, page: 16 };
/** Proved hashes of as many groups (2 KiB each): pages that are read one after another are often of one group. */
const keptRecords = 4_096;

export const shardPath = (dir: string, root: string): string => join(dir, `${root}${ending}`);
export const pagePath = (dir: string, root: string, page: number): string =>
  join(dir, pagesName, root.slice(0, 2), `${root}-${page}`);

export class ShardCache {
  readonly #options: ShardCacheOptions;
  /** In the order of use, the oldest first. */
  readonly #kept: Map<string, Kept>;
  #sizeBytes = 0;
  /** How many hold what is here or on its way; absent: it may go. */
  readonly #holds = new Map<string, number>();
  readonly #fetching = new Map<string, Promise<void>>();
  readonly #records = new Map<string, Promise<readonly Uint8Array[]>>();
  readonly #shardSlots = new Slots(maxFetches.shard);
  /** What a step waits for must not stand behind what is for later: one of the slots is never taken by that. */
  readonly #aheadSlot = new Slots(1);
  readonly #pageSlots = new Slots(maxFetches.page);

  private constructor(options: ShardCacheOptions, kept: Map<string, Kept>) {
    this.#options = options;
    this.#kept = kept;
    for (const { sizeBytes } of kept.values()) this.#sizeBytes += sizeBytes;
  }

  /** Takes over the shards that an earlier process left; its pages, and what it left unfinished, go. */
  static async open(options: ShardCacheOptions): Promise<ShardCache> {
    const { dir } = options;
    await mkdir(dir, { recursive: true });
    await rm(join(dir, pagesName), { recursive: true, force: true });
    const found: { readonly root: string; readonly sizeBytes: number; readonly usedMs: number }[] = [];
    for (const name of await readdir(dir)) {
      const path = join(dir, name);
      if (name.includes('.partial')) await rm(path, { force: true });
      if (!name.endsWith(ending)) continue;
      const info = await stat(path);
      found.push({ root: name.slice(0, -ending.length), sizeBytes: info.size, usedMs: info.mtimeMs });
    }
    found.sort((a, b) => a.usedMs - b.usedMs || (a.root < b.root ? -1 : 1));
    const kept = new Map(
      found.map(({ root, sizeBytes }) => [root, { sizeBytes, path: shardPath(dir, root), isChecked: false }]),
    );
    const cache = new ShardCache(options, kept);
    await cache.#makeRoom();
    return cache;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Roots of shards at hand, and `ROOT-PAGE` of pages; the one used longest ago first. */
  keys(): readonly string[] {
    return [...this.#kept.keys()];
  }

  /**
   * Resolves when all of it is in files; it stays until `release`. Failures: StoreError, and what the file system throws;
   * then none is held.
   */
  async hold(places: readonly TextPlace[]): Promise<void> {
    const units = [...this.#distinct(places)];
    // Before the first comes: what is held makes no room for the rest.
    for (const { key } of units) this.#holds.set(key, (this.#holds.get(key) ?? 0) + 1);
    const results = await Promise.allSettled(units.map((unit) => this.#need(unit)));
    const failed = results.find((result) => result.status === 'rejected');
    if (failed === undefined) return;
    this.#letGo(units);
    throw failed.reason;
  }

  release(places: readonly TextPlace[]): void {
    this.#letGo(this.#distinct(places));
  }

  /** Fetches what will be needed soon, in this order, as far as the limit goes. What fails is fetched when it is held. */
  async fetchAhead(places: Iterable<TextPlace>): Promise<void> {
    const { limitBytes, log, signal } = this.#options;
    let sum = 0;
    // One iterator for all: each takes the next unit when it is done with one.
    const units = this.#distinct(places);
    const fetchOn = async (): Promise<void> => {
      for (const unit of units) {
        sum += unit.sizeBytes;
        if (sum > limitBytes || signal.aborted) return;
        const need = (): Promise<void> => this.#need(unit);
        await (unit.page === null ? this.#aheadSlot.run(need) : need()).catch((error) =>
          log.debug('text not fetched ahead', { error: String(error) }),
        );
      }
    };
    await Promise.all(Array.from({ length: maxFetches.page / 2 }, fetchOn));
  }

  #letGo(units: Iterable<Unit>): void {
    for (const { key } of units) {
      const holds = this.#holds.get(key) ?? 0;
      if (holds > 1) this.#holds.set(key, holds - 1);
      else this.#holds.delete(key);
    }
  }

  *#distinct(places: Iterable<TextPlace>): IterableIterator<Unit> {
    const seen = new Set<string>();
    for (const place of places)
      for (const unit of this.#unitsOf(place)) {
        if (seen.has(unit.key)) continue;
        seen.add(unit.key);
        yield unit;
      }
  }

  *#unitsOf({ shard, offset, length }: TextPlace): Generator<Unit> {
    const { root, sizeBytes } = shard.artifact;
    if (!this.#options.pages.has(root)) {
      yield { key: root, shard, page: null, sizeBytes };
      return;
    }
    const width = bytesPerToken(this.#options.vocabSize);
    const end = Math.min((offset + length) * width, sizeBytes);
    for (let page = Math.floor((offset * width) / pageBytes); page * pageBytes < end; page++)
      yield { key: `${root}-${page}`, shard, page, sizeBytes: Math.min(pageBytes, sizeBytes - page * pageBytes) };
  }

  async #need(unit: Unit): Promise<void> {
    const { key } = unit;
    const under = this.#fetching.get(key);
    if (under !== undefined) {
      await under;
      // It may have been thrown out meanwhile.
      return this.#kept.has(key) ? undefined : await this.#need(unit);
    }
    const work = this.#findOrFetch(unit).finally(() => this.#fetching.delete(key));
    this.#fetching.set(key, work);
    await work;
  }

  async #findOrFetch(unit: Unit): Promise<void> {
    const { key, page } = unit;
    const kept = this.#kept.get(key);
    if (kept !== undefined && (kept.isChecked || (await isWhole(kept.path, key)))) {
      // Moved to the end: used last.
      this.#kept.delete(key);
      this.#kept.set(key, kept);
      kept.isChecked = true;
      const now = new Date();
      if (page === null) await utimes(kept.path, now, now).catch(() => {}); // only the order after a restart
      return;
    }
    if (page === null) await this.#shardSlots.run(() => this.#fetchShard(unit));
    else await this.#pageSlots.run(() => this.#fetchPage(unit, page));
  }

  async #fetchShard(unit: Unit): Promise<void> {
    const { store, signal, log, dir } = this.#options;
    const { artifact, source, stage } = unit.shard;
    await this.#keep(unit, shardPath(dir, unit.key), await store.get(artifact, { signal }));
    log.debug('shard fetched', { source, stage, sizeBytes: artifact.sizeBytes });
  }

  /** @throws StoreError; HASH_MISMATCH where the page is not the shard's */
  async #fetchPage(unit: Unit, page: number): Promise<void> {
    const { store, signal, dir } = this.#options;
    const { artifact } = unit.shard;
    const hashes = await this.#recordOf(unit.shard, page);
    const from = page * pageBytes;
    const bytes = await store.parts!.read(artifact, { from, to: from + unit.sizeBytes }, { signal });
    if (!isPageOf(bytes, hashes[page % groupPages]!, nodeSha256))
      throw hashMismatch(artifact.root, `another page ${page} than its table says`);
    await this.#keep(unit, pagePath(dir, artifact.root, page), bytes);
  }

  /** Proved hashes of the group that a page is in. */
  async #recordOf({ artifact }: Shard, page: number): Promise<readonly Uint8Array[]> {
    const name = `${artifact.root}-${Math.floor(page / groupPages)}`;
    const known = this.#records.get(name);
    if (known !== undefined) return await known;
    const reading = this.#readRecord(artifact, page);
    this.#records.set(name, reading);
    if (this.#records.size > keptRecords) this.#records.delete(this.#records.keys().next().value!);
    reading.catch(() => this.#records.delete(name)); // asked for again the next time
    return await reading;
  }

  async #readRecord({ root: shardRoot, sizeBytes }: Shard['artifact'], page: number): Promise<readonly Uint8Array[]> {
    const { store, signal, pages } = this.#options;
    if (store.parts === undefined)
      throw new StoreError('UNAVAILABLE', `${shardRoot}: this store cannot read a part of a shard`);
    const { root, table } = pages.get(shardRoot)!;
    const record = await store.parts.read(table, recordRange(sizeBytes, page), { signal });
    const hashes = pageHashesOf(record, { root, sizeBytes, page }, nodeSha256);
    if (hashes === null) throw hashMismatch(table.root, `no record of page ${page} of shard ${shardRoot}`);
    return hashes;
  }

  async #keep({ key, sizeBytes }: Unit, path: string, bytes: Uint8Array): Promise<void> {
    this.#forget(key);
    // Counted before it is there: what others write at the same time must find its room elsewhere.
    this.#sizeBytes += sizeBytes;
    try {
      await this.#makeRoom();
      const partial = `${path}.partial-${process.pid}`;
      await mkdir(dirname(path), { recursive: true });
      const file = await open(partial, 'w');
      try {
        await writeAll(file, bytes);
      } finally {
        await file.close();
      }
      await rename(partial, path);
    } catch (error) {
      this.#sizeBytes -= sizeBytes;
      throw error;
    }
    this.#kept.set(key, { sizeBytes, path, isChecked: true });
  }

  #forget(key: string): void {
    const kept = this.#kept.get(key);
    if (kept === undefined) return;
    this.#kept.delete(key);
    this.#sizeBytes -= kept.sizeBytes;
  }

  /** Removes those used longest ago that nobody holds, until the rest is within the limit. */
  async #makeRoom(): Promise<void> {
    for (const [key, { path }] of this.#kept) {
      if (this.#sizeBytes <= this.#options.limitBytes) return;
      if (this.#holds.has(key) || this.#fetching.has(key)) continue;
      this.#forget(key);
      await rm(path, { force: true });
    }
  }
}

/** So many at once; the others wait in their order. */
class Slots {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  async run(work: () => Promise<void>): Promise<void> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      await work();
    } finally {
      // Handed on, so that nobody who comes now goes first.
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }
}

async function isWhole(path: string, root: string): Promise<boolean> {
  const bytes = await readFile(path).catch(() => null);
  return bytes !== null && artifactOf(bytes, nodeSha256).root === root;
}
