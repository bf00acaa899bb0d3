/** @file The contract of the store, held in a bucket of a real S3 server; parts, ranges, and what only a server can do wrong. */
import { PutObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { randomBytes, testStore } from '../../tests/contracts/store.ts';
import { testStoreFaults } from '../../tests/contracts/store-faults.ts';
import { startFaultyProxy } from '../../tests/support/faulty-proxy.ts';
import { type RadosGateway, radosGateway, startRadosGateway } from '../../tests/support/rados-gateway.ts';
import { artifactOf, pieceBytes } from '../protocol/artifact.ts';
import type { ArtifactRef } from '../protocol/manifest.ts';
import { leafHash, treeHash } from '../protocol/merkle.ts';
import type { Hash } from '../protocol/names.ts';
import { toHex } from '../util/bytes.ts';
import { nodeSha256 } from '../util/node-sha256.ts';
import { S3Store, type S3StoreOptions } from './s3.ts';
import { S3Bucket, type S3BucketOptions } from './s3-bucket.ts';
import { parseS3Url, storeKey } from './s3-place.ts';

let gateway: RadosGateway;

const partBytes = 5 * 1024 ** 2;

async function openBucket(options: S3BucketOptions = {}, endpoint = gateway.endpoint) {
  const place = parseS3Url(`s3://${await gateway.makeBucket()}/runs/one?endpoint=${endpoint}`);
  return new S3Bucket(place, { credentials: gateway.credentials, minBackoffMs: 2, ...options });
}

async function openStore(options: S3StoreOptions & S3BucketOptions = {}) {
  const bucket = await openBucket(options);
  return { bucket, store: new S3Store(bucket, { partBytes, ...options }) };
}

/** Behind the store's back. */
async function overwrite(bucket: S3Bucket, key: string, bytes: Uint8Array): Promise<void> {
  const { place } = bucket;
  await gateway.client.send(new PutObjectCommand({ Bucket: place.bucket, Key: place.prefix + key, Body: bytes }));
}

describe.skipIf(!radosGateway.isThere)(`S3 on Ceph's RADOS Gateway (${radosGateway.need})`, () => {
  beforeAll(async () => {
    gateway = await startRadosGateway();
  }, 90_000);
  afterAll(() => gateway?.close());

  testStore('S3', async () => {
    const { bucket, store } = await openStore();
    return {
      store,
      damage: async (root) => {
        const { sizeBytes } = (await bucket.head(storeKey(root)))!;
        await overwrite(bucket, storeKey(root), randomBytes(sizeBytes, 99));
      },
      close: async () => bucket.close(),
    };
  });

  testStoreFaults('S3', async () => {
    const attempts = 4;
    const proxy = await startFaultyProxy(gateway.endpoint);
    const bucket = await openBucket({ attempts, idleMs: 600 }, proxy.url);
    return {
      ...{ proxy, attempts, store: new S3Store(bucket, { partBytes }) },
      close: async () => {
        bucket.close();
        await proxy.close();
      },
    };
  });

  it('writes and reads in parts', async () => {
    const { bucket, store } = await openStore();
    const bytes = randomBytes(3 * partBytes + 17, 1);
    const artifact = artifactOf(bytes);
    await store.put(artifact, bytes);
    expect(Buffer.compare(await store.get(artifact), bytes)).toBe(0);
    const chunks: Uint8Array[] = [];
    for await (const chunk of store.read(artifact.root, { from: 3, to: 2 * partBytes + 9 })) chunks.push(chunk);
    expect(Buffer.compare(Buffer.concat(chunks), bytes.subarray(3, 2 * partBytes + 9))).toBe(0);
    expect(await bucket.uploads(storeKey(artifact.root))).toEqual([]);
  });

  it('holds no more parts than it may, whatever the size', async () => {
    const { bucket, store } = await openStore({ parallelParts: 3 });
    const inFlight = { putPart: 0, read: 0 };
    const most = { ...inFlight };
    for (const name of ['putPart', 'read'] as const) {
      const original = bucket[name].bind(bucket) as (...given: unknown[]) => Promise<unknown>;
      const counted = async (...given: unknown[]) => {
        most[name] = Math.max(most[name], ++inFlight[name]);
        return original(...given).finally(() => inFlight[name]--);
      };
      Object.defineProperty(bucket, name, { value: counted });
    }
    const artifact = zerosOf(12 * partBytes);
    await store.write(artifact, zeros(artifact.sizeBytes));
    expect(most).toEqual({ putPart: 3, read: 3 });
    expect(await store.stat(artifact.root)).toBe(artifact.sizeBytes);
  });

  it('leaves no upload behind when the source lies or breaks off, or the caller gives up', async () => {
    const { bucket, store } = await openStore();
    const artifact = zerosOf(3 * partBytes);
    const stop = new AbortController();
    async function* abortedHalfway() {
      yield* zeros(partBytes);
      stop.abort(new Error('given up'));
      yield* zeros(2 * partBytes);
    }
    async function* breaking() {
      yield* zeros(2 * partBytes);
      throw new Error('the disk is gone');
    }
    const ones = Array.from({ length: (3 * partBytes) >> 20 }, () => new Uint8Array(1 << 20).fill(1));
    const rejects = (chunks: Parameters<S3Store['write']>[1], options = {}) =>
      expect(store.write(artifact, chunks, options)).rejects;
    await rejects(ones).toMatchObject({ code: 'HASH_MISMATCH' });
    await rejects(zeros(3 * partBytes - 1)).toMatchObject({ code: 'SIZE_MISMATCH' });
    await rejects(zeros(4 * partBytes)).toMatchObject({ code: 'SIZE_MISMATCH' });
    await rejects(breaking()).toThrow('the disk is gone');
    await rejects(abortedHalfway(), { signal: stop.signal }).toThrow('given up');
    expect(await bucket.uploads(storeKey(artifact.root))).toEqual([]);
    expect(await store.stat(artifact.root)).toBeNull();
  });

  it('reads back what the server puts together, and sets aside what is wrong', async () => {
    const { bucket, store } = await openStore();
    const artifact = zerosOf(2 * partBytes);
    const complete = bucket.complete.bind(bucket);
    // As a server that ignores conditions lets another writer of the same key do.
    Object.defineProperty(bucket, 'complete', {
      value: async (...given: Parameters<typeof complete>) => {
        await complete(...given);
        await overwrite(bucket, storeKey(artifact.root), randomBytes(artifact.sizeBytes, 3));
        return true;
      },
    });
    await expect(store.write(artifact, zeros(artifact.sizeBytes))).rejects.toMatchObject({
      ...{ code: 'HASH_MISMATCH', retryable: true },
    });
    expect(await store.stat(artifact.root)).toBeNull();
    expect(await bucket.head(`damaged/${artifact.root}`)).toMatchObject({ sizeBytes: artifact.sizeBytes });
  });

  it('writes once: of racers for a key one wins', async () => {
    const { bucket } = await openStore();
    const bodies = Array.from({ length: 16 }, (_, i) => randomBytes(1_000, i));
    const outcomes = await Promise.all(bodies.map((body) => bucket.put('store/key', body)));
    expect(outcomes.filter((isFirst) => isFirst)).toHaveLength(1);
    const { bytes } = await bucket.read('store/key', { from: 0, to: 1_000 });
    expect(Buffer.compare(bytes, bodies[outcomes.indexOf(true)]!)).toBe(0);
  });

  it('says what is wrong with credentials and buckets, without either', async () => {
    const wrong = { accessKeyId: 'NOBODY', secretAccessKey: 'a-secret-of-nobody' };
    const artifact = artifactOf(Uint8Array.of(1, 2, 3));
    const strangers = new S3Store(await openBucket({ credentials: wrong, attempts: 1 }));
    const refused = await strangers.put(artifact, Uint8Array.of(1, 2, 3)).catch((error) => error);
    expect(refused).toMatchObject({ name: 'StoreError', code: 'FORBIDDEN', retryable: false });
    expect(JSON.stringify(refused) + refused.message + String(refused.cause)).not.toMatch(/NOBODY|a-secret/);
    const nowhere = parseS3Url(`s3://no-such-bucket/x?endpoint=${gateway.endpoint}`);
    const absent = new S3Store(new S3Bucket(nowhere, { credentials: gateway.credentials }), { partBytes });
    await expect(absent.write(artifact, [Uint8Array.of(1, 2, 3)])).rejects.toThrow(/no such bucket/);
    const down = parseS3Url('s3://bucket/x?endpoint=http://127.0.0.1:1');
    const unreachable = new S3Bucket(down, { credentials: gateway.credentials, attempts: 2, minBackoffMs: 1 });
    await expect(unreachable.head('store/key')).rejects.toMatchObject({ code: 'UNAVAILABLE', retryable: true });
  });
});

/** Needs 5 GiB of memory for the server and minutes. */
describe.skipIf(!radosGateway.isThere || process.env.ACCRETE_LARGE !== '1')(
  `a 5 GiB artifact in S3 (set ACCRETE_LARGE=1; ${radosGateway.need})`,
  () => {
    it('is written in parts from a sparse source, read back and read, in bounded memory', {
      timeout: 1_800_000,
    }, async () => {
      gateway = await startRadosGateway({ memoryBytes: 8 * 1024 ** 3 });
      try {
        const { store } = await openStore({ partBytes: 16 * 1024 ** 2 });
        const artifact = zerosOf(5 * 1024 ** 3);
        const before = process.memoryUsage.rss();
        let most = before;
        const watch = setInterval(() => (most = Math.max(most, process.memoryUsage.rss())), 50);
        const startedAt = performance.now();
        await store.write(artifact, zeros(artifact.sizeBytes));
        const writtenAt = performance.now();
        expect(await store.hashOf(storeKey(artifact.root), artifact.sizeBytes)).toEqual(artifact);
        clearInterval(watch);
        const rate = (fromMs: number, toMs: number) => Math.round(artifact.sizeBytes / 1e3 / (toMs - fromMs));
        console.info(
          `5 GiB: write with read-back ${rate(startedAt, writtenAt)} MB/s, read ${rate(writtenAt, performance.now())} MB/s, ${Math.round((most - before) / 1e6)} MB more memory at most`,
        );
        expect(most - before).toBeLessThan(1024 ** 3);
      } finally {
        await gateway.close();
      }
    });
  },
);

const zeroChunk = new Uint8Array(1 << 20);

/** Any number of zeros, with memory for a mebibyte. */
function* zeros(sizeBytes: number): Generator<Uint8Array> {
  for (let left = sizeBytes; left > 0; left -= zeroChunk.byteLength) yield zeroChunk.subarray(0, left);
}

/** Of as many zeros, a multiple of a mebibyte: all whole pieces have one hash. */
function zerosOf(sizeBytes: number): ArtifactRef {
  const leaf = (bytes: number) => leafHash(new Uint8Array(bytes), nodeSha256);
  const whole = leaf(pieceBytes);
  const leaves = Array.from({ length: Math.floor(sizeBytes / pieceBytes) }, () => whole);
  if (sizeBytes % pieceBytes > 0) leaves.push(leaf(sizeBytes % pieceBytes));
  return { root: toHex(treeHash(leaves, nodeSha256)) as Hash, sizeBytes };
}
