/** @file Uploads by people without credentials, into a real bucket: the contract through grants, and what thieves and liars try. */
import { createHash } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PutBucketPolicyCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { randomBytes, testStore } from '../../tests/contracts/store.ts';
import { testStoreFaults } from '../../tests/contracts/store-faults.ts';
import { startFaultyProxy } from '../../tests/support/faulty-proxy.ts';
import { type RadosGateway, radosGateway, startRadosGateway } from '../../tests/support/rados-gateway.ts';
import { artifactOf } from '../protocol/artifact.ts';
import type { ArtifactRef } from '../protocol/manifest.ts';
import type { Hash, LearnerId } from '../protocol/names.ts';
import { silentLog } from '../util/clock.ts';
import { serveBucket } from './bucket-server.ts';
import { HttpStore } from './http-client.ts';
import { parsePresigned } from './presigned.ts';
import { S3Store } from './s3.ts';
import { S3Bucket, type S3BucketOptions } from './s3-bucket.ts';
import { parseS3Url, storeKey } from './s3-place.ts';
import { S3Uploads, type S3UploadsOptions } from './s3-uploads.ts';

const learner = '5Hotkey/one' as LearnerId;
const thief = '5Hotkey/two' as LearnerId;
const partBytes = 5 * 1024 ** 2;
let gateway: RadosGateway;
const servers: Server[] = [];
afterEach(async () => {
  vi.useRealTimers();
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

const hashesOf = (bytes: Uint8Array): Hash[] =>
  Array.from(
    { length: Math.max(1, Math.ceil(bytes.byteLength / partBytes)) },
    (_, i) =>
      createHash('sha256')
        .update(bytes.subarray(i * partBytes, (i + 1) * partBytes))
        .digest('hex') as Hash,
  );

/** A bucket, its owner's side behind an HTTP server, and the store as a miner has it. */
async function openUploads(options: Partial<S3UploadsOptions> & S3BucketOptions = {}, endpoint = gateway.endpoint) {
  const place = parseS3Url(`s3://${await gateway.makeBucket()}/run?endpoint=${endpoint}`);
  const bucket = new S3Bucket(place, { credentials: gateway.credentials, minBackoffMs: 2, ...options });
  const owned = new S3Store(bucket, { partBytes });
  const uploads = new S3Uploads(
    { bucket, store: owned },
    { nowMs: Date.now, log: silentLog, grantMs: 60_000, partBytes, ...options },
  );
  const server = createServer(
    serveBucket({
      stat: (root) => uploads.stat(root),
      locate: (root) => bucket.presignGet(storeKey(root), 60),
      read: (root, range) => owned.read(root, range),
    }),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  servers.push(server);
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const grant = (artifact: ArtifactRef, bytes: Uint8Array, who = learner) =>
    uploads.grant({ artifact, learner: who, parts: hashesOf(bytes) });
  return { place, bucket, owned, uploads, url, grant, store: new HttpStore(url, { minBackoffMs: 2 }) };
}

/** Sends a grant's only request, changed. */
async function send(
  token: string,
  body: Uint8Array,
  change: { url?: (url: string) => string; headers?: Record<string, string | undefined> } = {},
): Promise<number> {
  const { url, headers } = parsePresigned(token).requests[0]!;
  const changed = Object.entries({ ...headers, ...change.headers }).filter(([, value]) => value !== undefined);
  const own = Object.fromEntries(changed) as Record<string, string>;
  delete own['content-length']; // fetch sets the true one
  const response = await fetch(change.url?.(url) ?? url, { method: 'PUT', body, headers: own });
  await response.arrayBuffer();
  return response.status;
}

describe.skipIf(!radosGateway.isThere)(`uploads into S3 on Ceph's RADOS Gateway (${radosGateway.need})`, () => {
  beforeAll(async () => {
    gateway = await startRadosGateway();
  }, 90_000);
  afterAll(() => gateway?.close());

  testStore('S3 through presigned grants', async () => {
    const { bucket, owned, grant, store } = await openUploads();
    return {
      store,
      grant,
      isRemote: true,
      damage: async (root) => {
        const sizeBytes = (await owned.stat(root))!;
        await bucket.delete(storeKey(root));
        await bucket.put(storeKey(root), randomBytes(sizeBytes, 99));
      },
      close: async () => bucket.close(),
    };
  });

  testStoreFaults('S3 through presigned grants', async () => {
    const attempts = 4;
    const proxy = await startFaultyProxy(gateway.endpoint);
    const { bucket, grant, url } = await openUploads({ attempts, idleMs: 600 }, proxy.url);
    return {
      ...{ proxy, attempts, grant, isRemote: true },
      store: new HttpStore(url, { minBackoffMs: 2, attempts, idleMs: 600 }),
      close: async () => {
        bucket.close();
        await proxy.close();
      },
    };
  });

  it('take an artifact in parts, also when one is sent again and another learner uploads the same', async () => {
    const { bucket, grant, store, owned } = await openUploads();
    const bytes = randomBytes(2 * partBytes + 7, 1);
    const artifact = artifactOf(bytes);
    const first = await grant(artifact, bytes);
    expect(parsePresigned(first.token).requests).toHaveLength(3);
    expect(await send(first.token, bytes.subarray(0, partBytes))).toBe(200);
    expect(await store.stat(artifact.root)).toBeNull();
    // A new grant goes on with the same upload.
    await store.put(artifact, bytes, { grant: await grant(artifact, bytes) });
    expect(Buffer.compare(await store.get(artifact), bytes)).toBe(0);
    expect(await owned.stat(artifact.root)).toBe(artifact.sizeBytes);
    expect(await bucket.uploads(`incoming/${artifact.root}`)).toEqual([]);
    await store.put(artifact, bytes, { grant: await grant(artifact, bytes, thief) });
  });

  it('are bound to size, bytes, place and time', async () => {
    const { grant, store } = await openUploads();
    const bytes = randomBytes(5_000, 2);
    const artifact = artifactOf(bytes);
    const { token } = await grant(artifact, bytes);
    expect(await send(token, bytes.subarray(1)), 'another size').toBe(403);
    expect(await send(token, randomBytes(5_000, 3)), 'other bytes').toBe(400);
    const otherHash = { 'x-amz-content-sha256': hashesOf(randomBytes(5_000, 3))[0]! };
    expect(await send(token, randomBytes(5_000, 3), { headers: otherHash }), 'another hash').toBe(403);
    expect(await send(token, bytes, { headers: { 'x-amz-content-sha256': undefined } }), 'no hash').toBe(403);
    expect(await send(token, bytes, { headers: { 'if-none-match': undefined } }), 'overwriting').toBe(403);
    const elsewhere = (url: string) => url.replace('/incoming/', '/store/');
    expect(await send(token, bytes, { url: elsewhere }), 'another place').toBe(403);
    const unsigned = (url: string) => url.split('?')[0]!;
    expect(await send(token, bytes, { url: unsigned }), 'no signature').toBe(403);
    expect(await store.stat(artifact.root)).toBeNull();
    expect(await send(token, bytes)).toBe(200);
    expect(await send(token, bytes), 'twice').toBe(412);
    const brief = await openUploads({ grantMs: 1_000 });
    const late = await brief.grant(artifact, bytes);
    await new Promise((resolve) => setTimeout(resolve, 2_100));
    expect(await send(late.token, bytes), 'expired').toBe(403);
    await expect(new HttpStore('http://127.0.0.1:1').put(artifact, bytes, { grant: late })).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    });
  });

  it('tell an expired grant, so that a new one is asked for', async () => {
    const { bucket, owned, grant, store } = await openUploads({ grantMs: 1_000 });
    const bytes = randomBytes(500, 4);
    const artifact = artifactOf(bytes);
    const late = await grant(artifact, bytes);
    await new Promise((resolve) => setTimeout(resolve, 2_100));
    const putting = new HttpStore(store.url, { attempts: 1 }).put(artifact, bytes, { grant: late });
    await expect(putting).rejects.toMatchObject({ code: 'EXPIRED', retryable: true });
    // A minute: a busy machine does not upload within a second.
    const uploads = new S3Uploads(
      { bucket, store: owned },
      { nowMs: Date.now, log: silentLog, grantMs: 60_000, partBytes },
    );
    const fresh = await uploads.grant({ artifact, learner, parts: hashesOf(bytes) });
    await store.put(artifact, bytes, { grant: fresh });
  });

  it('of other bytes than granted are never anybody’s artifact', async () => {
    const { bucket, grant, store } = await openUploads();
    const bytes = randomBytes(5_000, 5);
    const artifact = artifactOf(bytes);
    // The thief read the root in a commit, and says the hash of his own bytes.
    const lie = randomBytes(5_000, 6);
    const { token } = await grant(artifact, lie, thief);
    expect(await send(token, lie)).toBe(200);
    expect(await store.stat(artifact.root)).toBeNull();
    await store.put(artifact, bytes, { grant: await grant(artifact, bytes) });
    expect(Buffer.compare(await store.get(artifact), bytes)).toBe(0);
    expect(await bucket.head(storeKey(artifact.root))).not.toBeNull();
    // His own next upload is not stopped by his lie.
    const own = randomBytes(700, 7);
    await store.put(artifactOf(own), own, { grant: await grant(artifactOf(own), own, thief) });
  });

  it('that change between the look at them and the copy are not taken', async () => {
    const { place, bucket, grant, store } = await openUploads();
    const bytes = randomBytes(5_000, 11);
    const artifact = artifactOf(bytes);
    const copy = bucket.copy.bind(bucket);
    const swap = async (from: string, to: string, etag: string) => {
      const other = { Bucket: place.bucket, Key: place.prefix + from, Body: randomBytes(5_000, 12) };
      if (from.startsWith('incoming/')) await gateway.client.send(new PutObjectCommand(other));
      return copy(from, to, etag);
    };
    Object.defineProperty(bucket, 'copy', { value: swap, configurable: true });
    const granted = await grant(artifact, bytes);
    await expect(store.put(artifact, bytes, { grant: granted })).rejects.toMatchObject({
      ...{ code: 'HASH_MISMATCH', retryable: true },
    });
    expect(await bucket.head(storeKey(artifact.root))).toBeNull();
    Object.defineProperty(bucket, 'copy', { value: copy });
    // The first look of this put takes the swapped one away.
    await store.put(artifact, bytes, { grant: granted });
    expect(Buffer.compare(await store.get(artifact), bytes)).toBe(0);
  });

  it('are refused without the hashes of the parts', async () => {
    const { uploads } = await openUploads();
    const artifact = artifactOf(randomBytes(50, 8));
    for (const parts of [undefined, [], hashesOf(new Uint8Array(partBytes + 1))]) {
      const granting = uploads.grant({ artifact, learner, parts });
      await expect(granting).rejects.toMatchObject({ code: 'FORBIDDEN' });
    }
  });

  it('work where the orchestrator’s clock is an hour off', async () => {
    for (const offsetMs of [-3_600_000, 3_600_000]) {
      const { grant, store } = await openUploads();
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + offsetMs });
      const bytes = randomBytes(500, 9);
      const artifact = artifactOf(bytes);
      expect(await store.stat(artifact.root)).toBeNull(); // the first answer tells the server's time
      await store.put(artifact, bytes, { grant: await grant(artifact, bytes) });
      expect(Buffer.compare(await store.get(artifact), bytes)).toBe(0);
      vi.useRealTimers();
    }
  });

  it('are read by everybody from a public bucket as from any store over HTTP', async () => {
    const { place, owned, store, url, grant } = await openUploads();
    const bytes = randomBytes(partBytes + 5, 10);
    const artifact = artifactOf(bytes);
    await store.put(artifact, bytes, { grant: await grant(artifact, bytes) });
    const folder = `${gateway.endpoint}/${place.bucket}/run`;
    const mirror = new HttpStore(folder, { minBackoffMs: 2 });
    await expect(mirror.get(artifact)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    const Policy = JSON.stringify({
      Version: '2012-10-17',
      Statement: [
        {
          ...{ Effect: 'Allow', Principal: '*', Action: ['s3:GetObject'] },
          Resource: [`arn:aws:s3:::${place.bucket}/run/store/*`],
        },
      ],
    });
    await gateway.client.send(new PutBucketPolicyCommand({ Bucket: place.bucket, Policy }));
    expect(Buffer.compare(await mirror.get(artifact), bytes)).toBe(0);
    expect(await mirror.stat(artifact.root)).toBe(artifact.sizeBytes);
    await expect(mirror.put(artifactOf(Uint8Array.of(1)), Uint8Array.of(1))).rejects.toMatchObject({
      code: 'FORBIDDEN',
    });
    expect((await fetch(`${folder}/store/${artifact.root}`, { method: 'PUT', body: bytes })).status).toBe(403);
    // A page in a browser is given the bytes by its own origin, others are sent on.
    const path = `${url}/store/${artifact.root}`;
    const headers = { range: 'bytes=5-9' };
    const relayed = await fetch(path, { redirect: 'manual', headers }); // says sec-fetch-mode, as a browser does
    expect([relayed.status, relayed.headers.get('content-range')]).toEqual([206, `bytes 5-9/${artifact.sizeBytes}`]);
    expect(Buffer.compare(Buffer.from(await relayed.arrayBuffer()), bytes.subarray(5, 10))).toBe(0);
    expect(await owned.stat(artifact.root)).toBe(artifact.sizeBytes);
  });
});
