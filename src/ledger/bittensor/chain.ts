/**
 * @file Reading a chain through its endpoints: heads whose hash is recomputed, the runtime of a block, and storage at one block, so that
 * what is read together belongs together. A node's word on storage is believed; a run that must not needs its own node.
 */
import { blake2b256 } from '../../protocol/hash.ts';
import { concatBytes, toHex } from '../../util/bytes.ts';
import type { Endpoints } from './endpoints.ts';
import { hashOf } from './endpoints.ts';
import { badAnswer, RpcRefusal } from './errors.ts';
import { compact } from './extrinsic.ts';
import { isRecord, type RpcConnection } from './rpc.ts';
import { hexBytes, hexOf, Runtime, type RuntimeVersion } from './runtime.ts';

export interface Head {
  readonly number: number;
  /** 64 hex digits. */
  readonly hash: string;
}

export interface BlockBody extends Head {
  /** Hex with `0x`, as submitted. */
  readonly extrinsics: readonly string[];
}

/** One storage value: pallet, item, keys. */
export type StorageQuery = readonly [pallet: string, item: string, ...keys: unknown[]];

const keysAtOnce = 512;
const maxExtrinsics = 100_000;
const maxDigestLogs = 1_024;

/** A block of one endpoint, and the storage in it. */
export class View {
  readonly connection: RpcConnection;
  readonly head: Head;
  readonly runtime: Runtime;

  constructor(connection: RpcConnection, head: Head, runtime: Runtime) {
    this.connection = connection;
    this.head = head;
    this.runtime = runtime;
  }

  has(pallet: string, item: string): boolean {
    return this.runtime.hasStorage(pallet, item);
  }

  async get(...query: StorageQuery): Promise<unknown> {
    return (await this.many([query]))[0];
  }

  /** In the order asked for. */
  async many(queries: readonly StorageQuery[]): Promise<readonly unknown[]> {
    const keys = queries.map(([pallet, item, ...args]) => this.runtime.storageKey(pallet, item, args));
    const values = new Map<string, string | null>();
    for (let from = 0; from < keys.length; from += keysAtOnce)
      await this.#query(keys.slice(from, from + keysAtOnce), values);
    return queries.map(([pallet, item], i) => {
      const value = values.get(keys[i]!);
      if (value === undefined) throw badAnswer(`${this.connection.url}: left ${pallet}.${item} out of its answer`);
      return this.runtime.storageValue(pallet, item, value);
    });
  }

  async #query(keys: readonly string[], values: Map<string, string | null>): Promise<void> {
    const answer = await this.connection.request('state_queryStorageAt', [keys, `0x${this.head.hash}`]);
    const changes = Array.isArray(answer) && isRecord(answer[0]) ? answer[0].changes : null;
    if (!Array.isArray(changes) || changes.length > keys.length)
      throw badAnswer(`${this.connection.url}: state_queryStorageAt is not of its form`);
    for (const change of changes) {
      const [key, value] = Array.isArray(change) ? change : [];
      if (typeof key !== 'string' || !(value === null || typeof value === 'string'))
        throw badAnswer(`${this.connection.url}: state_queryStorageAt is not of its form`);
      values.set(key, value);
    }
  }
}

export class ChainClient {
  readonly endpoints: Endpoints;
  readonly #runtimes = new Map<number, Promise<Runtime>>();
  #newest: { readonly hash: string; readonly version: RuntimeVersion } | null = null;
  #wakers: (() => void)[] = [];

  constructor(endpoints: Endpoints) {
    this.endpoints = endpoints;
    endpoints.onConnected((connection) => {
      // Only a hint to look: a subscription that is dropped costs a poll's time, nothing else.
      connection.subscribe('chain_subscribeNewHeads', () => this.#wake()).catch(() => undefined);
    });
  }

  /** Reads at the best block; again on another endpoint if this one fails. */
  read<T>(work: (view: View) => Promise<T>): Promise<T> {
    return this.endpoints.use(async (connection) => {
      const head = await this.bestHead(connection);
      return work(new View(connection, head, await this.runtimeAt(connection, head.hash)));
    });
  }

  /** Reads at a given block; an endpoint that keeps no state so old is left. */
  readAt<T>(head: Head, work: (view: View) => Promise<T>): Promise<T> {
    return this.endpoints.use(async (connection) =>
      work(new View(connection, head, await this.runtimeAt(connection, head.hash))),
    );
  }

  finalized(): Promise<Head> {
    return this.endpoints.use((connection) => this.finalizedHead(connection));
  }

  async bestHead(connection: RpcConnection): Promise<Head> {
    return headOf(connection, await connection.request('chain_getHeader', []), null);
  }

  async finalizedHead(connection: RpcConnection): Promise<Head> {
    const hash = hashOf(await connection.request('chain_getFinalizedHead', []));
    if (hash === null) throw badAnswer(`${connection.url}: gave no finalised head`);
    const head = headOf(connection, await connection.request('chain_getHeader', [`0x${hash}`]), hash);
    this.endpoints.requireRecent(connection.url, head.number);
    this.endpoints.finalized(head);
    return head;
  }

  /** Of the best chain; null if it is not made yet. */
  async blockHash(connection: RpcConnection, number: number): Promise<string | null> {
    const answer = await connection.request('chain_getBlockHash', [number]);
    if (answer === null) return null;
    const hash = hashOf(answer);
    if (hash === null) throw badAnswer(`${connection.url}: gave no hash of block ${number}`);
    return hash;
  }

  async body(connection: RpcConnection, { number, hash }: Head): Promise<BlockBody> {
    const answer = await connection.request('chain_getBlock', [`0x${hash}`]);
    const block = isRecord(answer) && isRecord(answer.block) ? answer.block : null;
    const extrinsics = block?.extrinsics;
    if (block === null || !Array.isArray(extrinsics) || extrinsics.length > maxExtrinsics)
      throw badAnswer(`${connection.url}: gave no block ${number}`);
    if (headOf(connection, block.header, hash).number !== number)
      throw badAnswer(`${connection.url}: block ${hash} is not number ${number}`);
    if (!extrinsics.every((each) => typeof each === 'string'))
      throw badAnswer(`${connection.url}: block ${number} is not of its form`);
    return { number, hash, extrinsics };
  }

  async runtimeAt(connection: RpcConnection, hash: string): Promise<Runtime> {
    const version = this.#newest?.hash === hash ? this.#newest.version : await versionAt(connection, hash);
    const runtime = await this.#runtimeOf(connection, hash, version);
    this.#newest = { hash, version }; // Not before its metadata has borne it out.
    return runtime;
  }

  #runtimeOf(connection: RpcConnection, hash: string, version: RuntimeVersion): Promise<Runtime> {
    const known = this.#runtimes.get(version.specVersion);
    if (known !== undefined) return known;
    const loading = loadRuntime(connection, hash, version);
    this.#runtimes.set(version.specVersion, loading);
    loading.catch(() => this.#runtimes.delete(version.specVersion));
    return loading;
  }

  /** Until a block is announced, or `pollMs` at most. @throws LedgerError UNAVAILABLE when closed */
  nextBlock(pollMs: number): Promise<void> {
    const { signal } = this.endpoints;
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, pollMs);
      signal.addEventListener('abort', done, { once: true });
      this.#wakers.push(done);
    });
  }

  #wake(): void {
    for (const wake of this.#wakers.splice(0)) wake();
  }
}

async function versionAt(connection: RpcConnection, hash: string): Promise<RuntimeVersion> {
  const answer = await connection.request('state_getRuntimeVersion', [`0x${hash}`]);
  const { specVersion, transactionVersion } = isRecord(answer) ? answer : {};
  if (!isCount(specVersion) || !isCount(transactionVersion))
    throw badAnswer(`${connection.url}: gave no runtime version`);
  return { specVersion, transactionVersion };
}

/** The newest version of metadata that the node has: 16, 15, or the old call's 14. */
async function loadRuntime(connection: RpcConnection, hash: string, version: RuntimeVersion): Promise<Runtime> {
  const runtime = new Runtime(await metadataAt(connection, hash), version);
  const told = runtime.constant('System', 'Version');
  const spec = isRecord(told) ? told.spec_version : undefined;
  if (spec !== undefined && spec !== version.specVersion)
    throw badAnswer(`${connection.url}: says spec ${version.specVersion}, but its metadata is of ${String(spec)}`);
  return runtime;
}

async function metadataAt(connection: RpcConnection, hash: string): Promise<Uint8Array> {
  for (const wanted of [16, 15]) {
    const params = ['Metadata_metadata_at_version', `0x${wanted.toString(16).padStart(2, '0')}000000`, `0x${hash}`];
    const answer = await connection.request('state_call', params).catch((error) => {
      if (error instanceof RpcRefusal) return null; // An old runtime has no such call.
      throw error;
    });
    if (answer === null || answer === '0x00') continue;
    const bytes = hexBytes(answer);
    // Option, then the length of the opaque bytes.
    if (bytes[0] === 1) return bytes.subarray(1 + compactPrefix(bytes[1] ?? 0));
  }
  return hexBytes(await connection.request('state_getMetadata', [`0x${hash}`]));
}

const compactPrefix = (first: number): number => ((first & 3) === 3 ? 5 + (first >> 2) : 1 << (first & 3));

/** Number and hash of a header; recomputed, so that a header cannot be given for another. */
function headOf(connection: RpcConnection, header: unknown, expected: string | null): Head {
  const bad = (why: string) => badAnswer(`${connection.url}: a header ${why}`);
  if (!isRecord(header)) throw bad('is none');
  const number = typeof header.number === 'string' ? Number.parseInt(header.number.slice(2), 16) : Number.NaN;
  const logs = isRecord(header.digest) ? header.digest.logs : null;
  if (!isCount(number) || !Array.isArray(logs) || logs.length > maxDigestLogs) throw bad('is not of its form');
  const bytes = concatBytes(
    hexBytes(header.parentHash),
    compact(number),
    hexBytes(header.stateRoot),
    hexBytes(header.extrinsicsRoot),
    compact(logs.length),
    ...logs.map(hexBytes),
  );
  const hash = toHex(blake2b256(bytes));
  if (expected !== null && hash !== expected) throw bad(`of block ${expected} hashes to ${hash}`);
  return { number, hash };
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** The extrinsic's hash, by which explorers find it. */
export const extrinsicHash = (bytes: Uint8Array): string => hexOf(blake2b256(bytes));
