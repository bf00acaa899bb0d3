/** @file The contract of the store, held in a bucket of a real S3 server; parts, ranges, and what only a server can do wrong. */
import { PutObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { randomBytes, testStore } from '../../tests/contracts/store.ts';
import { testStoreFaults } from '../../tests/contracts/store-faults.ts';
import { startFaultyProxy } from '../../tests/support/faulty-proxy.ts';
import { type RadosGateway, radosGateway, startRadosGateway } from '../../tests/support/rados-gateway.ts';
import { artifactOf } from '../protocol/artifact.ts';
import { S3Store, type S3StoreOptions, storeKey } from './s3.ts';
import { S3Bucket, type S3BucketOptions } from './s3-bucket.ts';
import { parseS3Url } from './s3-place.ts';

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
    const bucket = await openBucket({ attempts, idleMs: 150 }, proxy.url);
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
});
