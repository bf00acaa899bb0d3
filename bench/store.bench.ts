/** @file Stores beside a plain transfer: put and get of one size, and the time to the first byte. S3 is Ceph's RADOS Gateway, in memory. */
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ArtifactRef } from '../src/protocol/manifest.ts';
import { FsStore } from '../src/store/fs.ts';
import { HttpStore } from '../src/store/http-client.ts';
import { hashArtifact } from '../src/store/node-hash.ts';
import type { Store } from '../src/store/port.ts';
import { S3Store } from '../src/store/s3.ts';
import { S3Bucket } from '../src/store/s3-bucket.ts';
import { parseS3Url, storeKey } from '../src/store/s3-place.ts';
import { randomBytes } from '../tests/contracts/store.ts';
import { radosGateway, startRadosGateway } from '../tests/support/rados-gateway.ts';
import { type Bench, type BenchRow, spread, time } from './measure.ts';

const sizeBytes = 64 * 1024 ** 2;
const smallBytes = 64 * 1024;
const timing = { runs: 5, warmups: 1 };

export const store: Bench = {
  name: 'store',
  about: `stores and a plain HTTP transfer, ${sizeBytes >> 20} MiB; the S3 server shares the machine`,
  async run() {
    const rows = [...(await plainRows()), ...(await folderRows())];
    if (radosGateway.isThere) return [...rows, ...(await s3Rows())];
    return [...rows, { what: 'S3', value: '', detail: radosGateway.need }];
  },
};

const rate = (ms: number): string => `${Math.round(sizeBytes / ms / 1e3)} MB/s`;

/** A new artifact each time, made and hashed before the clock starts: stores do not write what they have. */
async function rowsOf(name: string, target: Store): Promise<BenchRow[]> {
  const base = randomBytes(sizeBytes, 1);
  const samples = Array.from({ length: timing.runs + timing.warmups }, (_, i) => {
    const bytes = base.slice();
    bytes[0] = i;
    return { bytes, artifact: hashArtifact(bytes) };
  });
  let next = 0;
  const put = await time(async () => {
    const { artifact, bytes } = samples[next++]!;
    await target.put(artifact, bytes);
  }, timing);
  const get = await time(() => target.get(samples[0]!.artifact), timing);
  const small = randomBytes(smallBytes, 2);
  const smallRef = hashArtifact(small);
  await target.put(smallRef, small);
  const getSmall = await time(() => target.get(smallRef), { runs: 41, warmups: 3 });
  return [
    { what: `${name}: put`, value: rate(put.medianMs), detail: spread(put) },
    { what: `${name}: get, checked`, value: rate(get.medianMs), detail: spread(get) },
    {
      what: `${name}: get of ${smallBytes >> 10} KiB`,
      value: `${getSmall.medianMs.toFixed(2)} ms`,
      detail: spread(getSmall),
    },
  ];
}

async function folderRows(): Promise<BenchRow[]> {
  const dir = await mkdtemp(join(tmpdir(), 'accrete-bench-store-'));
  try {
    return await rowsOf('folder', await FsStore.open(dir));
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function s3Rows(): Promise<BenchRow[]> {
  const gateway = await startRadosGateway();
  try {
    const place = parseS3Url(`s3://${await gateway.makeBucket()}/bench?endpoint=${gateway.endpoint}`);
    const bucket = new S3Bucket(place, { credentials: gateway.credentials });
    const owned = new S3Store(bucket);
    const rows = await rowsOf('S3', owned);
    const bytes = randomBytes(sizeBytes, 3);
    const artifact = hashArtifact(bytes);
    await owned.put(artifact, bytes);
    rows.push(...(await plainReads('S3, presigned URL', () => bucket.presignGet(storeKey(artifact.root), 600))));
    rows.push(await redirectedRow(bucket, artifact));
    bucket.close();
    return rows;
  } finally {
    await gateway.close();
  }
}

/** As a miner reads: asked of the orchestrator, sent on to the bucket, checked. */
async function redirectedRow(bucket: S3Bucket, artifact: ArtifactRef): Promise<BenchRow> {
  const { url, close } = await serve(async (_, response) => {
    response.writeHead(307, { location: await bucket.presignGet(storeKey(artifact.root), 600) }).end();
  });
  const miner = new HttpStore(url);
  const get = await time(() => miner.get(artifact), timing);
  await close();
  return { what: 'S3, as a miner: get, checked', value: rate(get.medianMs), detail: spread(get) };
}

async function plainRows(): Promise<BenchRow[]> {
  const bytes = randomBytes(sizeBytes, 4);
  const { url, close } = await serve((incoming, response) => {
    if (incoming.method === 'GET') return void response.end(bytes);
    incoming.resume().once('end', () => response.end());
  });
  const put = await time(() => exchange(url, bytes), timing);
  const rows = await plainReads('plain HTTP', async () => url);
  await close();
  return [{ what: 'plain HTTP: put', value: rate(put.medianMs), detail: spread(put) }, ...rows];
}

async function plainReads(name: string, locate: () => Promise<string>): Promise<BenchRow[]> {
  const url = await locate();
  const get = await time(() => exchange(url), timing);
  const first = await time(() => exchange(url, null, true), { runs: 21, warmups: 2 });
  return [
    { what: `${name}: get`, value: rate(get.medianMs), detail: spread(get) },
    { what: `${name}: first byte`, value: `${first.medianMs.toFixed(2)} ms`, detail: spread(first) },
  ];
}

type Handler = Parameters<typeof createServer>[1] & {};

async function serve(handler: Handler): Promise<{ readonly url: string; close(): Promise<unknown> }> {
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = (): Promise<unknown> => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, close };
}

const agent = new Agent({ keepAlive: true });

/** Nothing is done with what comes. */
function exchange(url: string, body: Uint8Array | null = null, isFirstEnough = false): Promise<void> {
  return new Promise((resolve, reject) => {
    const asked = request(url, { agent, method: body === null ? 'GET' : 'PUT' }, (response) => {
      if (isFirstEnough)
        response.once('data', () => {
          response.destroy();
          resolve();
        });
      else response.resume().once('end', resolve).once('error', reject);
    });
    asked.once('error', reject).end(body ?? undefined);
  });
}
