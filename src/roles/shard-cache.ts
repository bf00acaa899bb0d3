/**
 * @file The run's text on this machine: only what leases and judgements need, fetched from the store ahead of its use, kept as files up to
 * a limit in bytes. Small shards come whole and stay over restarts, checked when they come and when a process first finds
 * them; of shards with pages (`data/shard-pages.ts`) only the pages come, neighbours by one request and each proved by itself, and
 * a new process begins without. Does file I/O.
 */
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
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

/** What one request fetches: a shard, or pages that lie one after another. */
type Run = readonly Unit[];

const ending = '.tokens';
const pagesName = 'pages';
/** Fetches at once. Two shards are a gigabyte of memory; of pages the waiting counts. */
const maxFetches = { shard: 2, page: 16 };
/** 4 MiB: beyond, a request's own cost no longer counts. */
const maxRunPages = 64;
/**
 * Pages among which neighbours are looked for before they are fetched ahead: the parts of a span come in the order of a draw over
 * 32 spans of each source. The first few are looked for at once, so that the first step need not wait for the rest to be located.
 */
const gathered = { first: 64, most: 2_048 };
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
    const results = await Promise.allSettled(runsOf(units).map((run) => this.#need(run)));
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
    const { log, signal } = this.#options;
    // One iterator for all: each takes the next run when it is done with one.
    const runs = this.#runsAhead(places);
    const fetchOn = async (): Promise<void> => {
      for (let next = await runs.next(); !next.done && !signal.aborted; next = await runs.next()) {
        const run = next.value;
        const need = (): Promise<void> => this.#need(run);
        await (run[0]!.page === null ? this.#aheadSlot.run(need) : need()).catch((error) =>
          log.debug('text not fetched ahead', { error: String(error) }),
        );
      }
    };
    await Promise.all(Array.from({ length: maxFetches.page / 2 }, fetchOn));
  }

  /** As far as the limit goes; located as they are asked for, and not all in one turn of the event loop. */
  async *#runsAhead(places: Iterable<TextPlace>): AsyncGenerator<Run> {
    let [left, most] = [this.#options.limitBytes, gathered.first];
    let units: Unit[] = [];
    for (const unit of this.#distinct(places)) {
      left -= unit.sizeBytes;
      if (left < 0) break;
      units.push(unit);
      if (units.length % gathered.first === 0) await setImmediate();
      if (units.length < most) continue;
      yield* runsOf(units);
      units = [];
      most = Math.min(2 * most, gathered.most);
    }
    yield* runsOf(units);
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

  async #need(run: Run): Promise<void> {
    const works = run.filter(({ key }) => this.#fetching.has(key)).map((unit) => this.#comesWith(unit));
    const missing = run.filter(({ key, page }) => !this.#fetching.has(key) && (page === null || !this.#use(key)));
    for (const part of runsOf(missing)) {
      const work = this.#findOrFetch(part).finally(() => {
        for (const { key } of part) if (this.#fetching.get(key) === work) this.#fetching.delete(key);
      });
      for (const { key } of part) this.#fetching.set(key, work);
      works.push(work);
    }
    const results = await Promise.allSettled(works);
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  /** Somebody else is fetching it, perhaps with others: their failure is not its own. */
  async #comesWith(unit: Unit): Promise<void> {
    await this.#fetching.get(unit.key)!.catch((error) => {
      if (!this.#kept.has(unit.key)) throw error;
    });
    // It may have been thrown out meanwhile.
    if (!this.#kept.has(unit.key)) await this.#need([unit]);
  }

  /** Used last. False if it is not there, or not checked. */
  #use(key: string): boolean {
    const kept = this.#kept.get(key);
    if (kept === undefined || !kept.isChecked) return false;
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    return true;
  }

  async #findOrFetch(run: Run): Promise<void> {
    const [unit] = run as readonly [Unit];
    if (unit.page !== null) return await this.#pageSlots.run(() => this.#fetchPages(run));
    const kept = this.#kept.get(unit.key);
    if (kept === undefined || !(kept.isChecked || (await isWhole(kept.path, unit.key))))
      return await this.#shardSlots.run(() => this.#fetchShard(unit));
    kept.isChecked = true;
    this.#use(unit.key);
    const now = new Date();
    await utimes(kept.path, now, now).catch(() => {}); // only the order after a restart
  }

  async #fetchShard(unit: Unit): Promise<void> {
    const { store, signal, log, dir } = this.#options;
    const { artifact, source, stage } = unit.shard;
    await this.#keep(unit, shardPath(dir, unit.key), await store.get(artifact, { signal }));
    log.debug('shard fetched', { source, stage, sizeBytes: artifact.sizeBytes });
  }

  /** Those that are right are kept. @throws StoreError; HASH_MISMATCH where one is not the shard's */
  async #fetchPages(run: Run): Promise<void> {
    const { store, signal, dir } = this.#options;
    const { shard, page: first } = run[0]!;
    const { artifact } = shard;
    const from = first! * pageBytes;
    const to = from + run.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    // What proves them comes first: without it nothing is fetched.
    const groups = new Set(run.map(({ page }) => Math.floor(page! / groupPages) * groupPages));
    const hashes = new Map<number, Uint8Array>();
    for (const group of groups)
      for (const [i, hash] of (await this.#recordOf(shard, group)).entries()) hashes.set(group + i, hash);
    const bytes = await store.parts!.read(artifact, { from, to }, { signal });
    let wrong: number | null = null;
    for (const unit of run) {
      const page = unit.page!;
      const at = page * pageBytes - from;
      const part = bytes.subarray(at, at + unit.sizeBytes);
      if (!isPageOf(part, hashes.get(page)!, nodeSha256)) {
        wrong ??= page;
        continue;
      }
      await this.#keep(unit, pagePath(dir, artifact.root, page), part);
      // It may go again: a run that is long must not stand in the way of the limit.
      this.#fetching.delete(unit.key);
    }
    if (wrong !== null) throw hashMismatch(artifact.root, `another page ${wrong} than its table says`);
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

/** Distinct units, joined where they are neighbours; in the order of the first of each. */
function runsOf(units: readonly Unit[]): readonly Run[] {
  const order = new Map(units.map((unit, i) => [unit, i]));
  const sorted = units.filter(({ page }) => page !== null);
  sorted.sort((a, b) => compareText(a.shard.artifact.root, b.shard.artifact.root) || a.page! - b.page!);
  const runs: Unit[][] = units.filter(({ page }) => page === null).map((unit) => [unit]);
  let run: Unit[] = [];
  for (const unit of sorted) {
    const last = run.at(-1);
    const isNext =
      last !== undefined && last.shard.artifact.root === unit.shard.artifact.root && last.page! + 1 === unit.page;
    if (isNext && run.length < maxRunPages) run.push(unit);
    else runs.push((run = [unit]));
  }
  const firstOf = new Map(runs.map((each) => [each, Math.min(...each.map((unit) => order.get(unit)!))]));
  return runs.sort((a, b) => firstOf.get(a)! - firstOf.get(b)!);
}

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

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
