/** @file The contract of the store, held over HTTP; grants, ranges, and what only a network can do wrong. */
import { mkdtemp, open, readdir, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { randomBytes, testStore } from '../../tests/contracts/store.ts';
import { testStoreFaults } from '../../tests/contracts/store-faults.ts';
import { startFaultyProxy } from '../../tests/support/faulty-proxy.ts';
import { artifactOf } from '../protocol/artifact.ts';
import type { ArtifactRef } from '../protocol/manifest.ts';
import type { LearnerId } from '../protocol/names.ts';
import { parseRange } from '../util/byte-range.ts';
import { FsStore } from './fs.ts';
import { issueGrant, openGrant } from './grants.ts';
import { HttpStore, type HttpStoreOptions } from './http-client.ts';
import { type ServeStoreOptions, serveStore } from './http-server.ts';
import { presignedToken } from './presigned.ts';

const secret = new Uint8Array(32).fill(9);
const learner = '5Hotkey/one' as LearnerId;
const nowMs = 1_000_000;
const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function listen(listener: RequestListener, port = 0): Promise<Server> {
  const server = createServer(listener);
  server.on('checkContinue', (request, response) => server.emit('request', request, response));
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  cleanups.push(() => stop(server));
  return server;
}

async function stop(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port;
const urlOf = (server: Server): string => `http://127.0.0.1:${portOf(server)}`;

async function openFolder(): Promise<{ readonly dir: string; readonly folder: FsStore }> {
  const dir = await mkdtemp(join(tmpdir(), 'accrete-http-store-'));
  cleanups.push(() => rm(dir, { recursive: true, force: true }));
  return { dir, folder: await FsStore.open(dir) };
}

async function serveFolder(options: Partial<ServeStoreOptions> = {}) {
  const { dir, folder } = await openFolder();
  const server = await listen(serveStore(folder, { secret, nowMs: () => nowMs, ...options }));
  return { dir, folder, server, url: urlOf(server), store: clientOf(urlOf(server)) };
}

const clientOf = (url: string, options: HttpStoreOptions = {}): HttpStore =>
  new HttpStore(url, { minBackoffMs: 2, ...options });

const grantFor = (artifact: ArtifactRef, expiresAtMs = nowMs + 60_000) =>
  issueGrant(secret, { artifact, learner, expiresAtMs });

testStore('over HTTP', async () => {
  const { dir, server, store } = await serveFolder();
  return {
    store,
    grant: (artifact) => grantFor(artifact),
    damage: async (root) => {
      const file = await open(join(dir, 'artifacts', root.slice(0, 2), root.slice(2, 4), root), 'r+');
      await file.write(Buffer.from([1, 2, 3, 4]), 0, 4, 0);
      await file.close();
    },
    isRemote: true,
    close: () => stop(server),
  };
});

testStoreFaults('over HTTP', async () => {
  const attempts = 4;
  const { server, url } = await serveFolder();
  const proxy = await startFaultyProxy(url);
  return {
    ...{ proxy, attempts, isRemote: true, grant: (artifact: ArtifactRef) => grantFor(artifact) },
    store: clientOf(proxy.url, { attempts, idleMs: 600 }),
    close: async () => {
      await proxy.close();
      await stop(server);
    },
  };
});

describe('grants', () => {
  const artifact = artifactOf(randomBytes(3_000, 1));

  it('open to what they were issued for', () => {
    const { token, expiresAtMs } = grantFor(artifact);
    expect(openGrant(secret, token, nowMs)).toEqual({ version: 1, artifact, learner, expiresAtMs });
  });

  it('are refused when forged, expired or foreign', () => {
    const { token } = grantFor(artifact);
    const [payload, mac] = token.split('.') as [string, string];
    const richer = Buffer.from(payload, 'base64url').toString().replace('"sizeBytes":3000', '"sizeBytes":9000');
    const cases: [string, string, number][] = [
      ['expired', token, nowMs + 60_000],
      ['empty', '', nowMs],
      ['no mac', payload, nowMs],
      ['another mac', `${payload}.${'A'.repeat(43)}`, nowMs],
      ['another size', `${Buffer.from(richer).toString('base64url')}.${mac}`, nowMs],
      ['another store', issueGrant(new Uint8Array(32), { artifact, learner, expiresAtMs: 2e9 }).token, nowMs],
      ['oversized', `${'A'.repeat(5_000)}.${mac}`, nowMs],
    ];
    for (const [what, forged, at] of cases) {
      expect(() => openGrant(secret, forged, at), what).toThrowError(expect.objectContaining({ code: 'FORBIDDEN' }));
    }
  });
});

describe('store over HTTP', () => {
  it('takes nothing without a fitting grant', async () => {
    const { dir, store, url } = await serveFolder();
    const bytes = randomBytes(300_000, 2);
    const artifact = artifactOf(bytes);
    const other = artifactOf(randomBytes(10, 3));
    const refused = { code: 'FORBIDDEN' };
    await expect(store.put(artifact, bytes)).rejects.toMatchObject(refused);
    await expect(store.put(artifact, bytes, { grant: grantFor(artifact, nowMs - 1) })).rejects.toMatchObject(refused);
    await expect(store.put(artifact, bytes, { grant: grantFor(other) })).rejects.toMatchObject(refused);
    const small = grantFor({ ...artifact, sizeBytes: 100 });
    await expect(store.put(artifact, bytes, { grant: small })).rejects.toMatchObject({ code: 'TOO_LARGE' });
    const plain = await fetch(`${url}/store/${artifact.root}`, { method: 'PUT', body: bytes });
    expect(plain.status).toBe(403);
    expect(await plain.json()).toEqual({ code: 'FORBIDDEN', message: expect.stringContaining('grant') });
    expect(await readdir(join(dir, 'temporary'))).toEqual([]);
    expect(await store.stat(artifact.root)).toBeNull();
  });

  it('answers a lying body with 422, also one that is too short', async () => {
    const { url, dir, folder } = await serveFolder();
    const bytes = randomBytes(5_000, 4);
    const artifact = artifactOf(bytes);
    const headers = { authorization: `Bearer ${grantFor(artifact).token}` };
    const send = async (body: Uint8Array) => {
      const response = await fetch(`${url}/store/${artifact.root}`, { method: 'PUT', body, headers });
      return [response.status, ((await response.json()) as { code: string }).code];
    };
    expect(await send(randomBytes(5_000, 5))).toEqual([422, 'HASH_MISMATCH']);
    expect(await send(bytes.subarray(0, 4_000))).toEqual([422, 'SIZE_MISMATCH']);
    expect(await send(randomBytes(5_001, 6))).toEqual([413, 'TOO_LARGE']);
    expect(await readdir(join(dir, 'temporary'))).toEqual([]);
    expect(await folder.stat(artifact.root)).toBeNull();
    expect((await fetch(`${url}/store/${artifact.root}`, { method: 'PUT', body: bytes, headers })).status).toBe(201);
    expect((await fetch(`${url}/store/${artifact.root}`, { method: 'PUT', body: bytes, headers })).status).toBe(200);
  });

  it('cuts an endless body off at its size', async () => {
    const { server, dir } = await serveFolder();
    const artifact = artifactOf(randomBytes(100_000, 7));
    const socket = connect(portOf(server), '127.0.0.1');
    let answer = '';
    socket.on('data', (data) => (answer += data));
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => undefined);
    socket.write(
      `PUT /store/${artifact.root} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n` +
        `Authorization: Bearer ${grantFor(artifact).token}\r\n\r\n`,
    );
    let sentBytes = 0;
    const chunk = Buffer.concat([Buffer.from('10000\r\n'), Buffer.alloc(65_536), Buffer.from('\r\n')]);
    const pump = setInterval(() => {
      if (socket.writable && sentBytes < 50_000_000) sentBytes += socket.write(chunk) ? chunk.length : chunk.length;
    }, 1);
    await closed;
    clearInterval(pump);
    expect(answer).toContain('413');
    expect(sentBytes).toBeLessThan(10_000_000);
    expect(await readdir(join(dir, 'temporary'))).toEqual([]);
  });

  it('ends an upload that falls silent, and one whose sender goes away', async () => {
    const { server, dir, store } = await serveFolder({ idleMs: 40 });
    const artifact = artifactOf(randomBytes(100_000, 8));
    for (const goesAway of [false, true]) {
      const socket = connect(portOf(server), '127.0.0.1');
      socket.on('error', () => undefined);
      socket.resume();
      const closed = new Promise((resolve) => socket.once('close', resolve));
      socket.write(
        `PUT /store/${artifact.root} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n` +
          `Authorization: Bearer ${grantFor(artifact).token}\r\n\r\nhalf`,
      );
      if (goesAway) setTimeout(() => socket.destroy(), 10);
      await closed;
    }
    // The server notices in its own time; it must notice.
    await vi.waitFor(async () => expect(await readdir(join(dir, 'temporary'))).toEqual([]), { timeout: 20_000 });
    await store.put(artifact, randomBytes(100_000, 8), { grant: grantFor(artifact) });
  });

  it('tells who stored what', async () => {
    const stored: string[] = [];
    const { store } = await serveFolder({
      onStored: (grant) => stored.push(`${grant.learner} ${grant.artifact.root}`),
    });
    const bytes = randomBytes(10, 9);
    const artifact = artifactOf(bytes);
    await store.put(artifact, bytes, { grant: grantFor(artifact) });
    await store.put(artifact, bytes, { grant: grantFor(artifact) });
    expect(stored).toEqual([`${learner} ${artifact.root}`]);
  });

  it('serves ranges, and says that a root never changes', async () => {
    const { url, folder } = await serveFolder();
    const bytes = randomBytes(1_000, 10);
    const artifact = artifactOf(bytes);
    await folder.put(artifact, bytes);
    const get = (headers: Record<string, string>, method = 'GET') =>
      fetch(`${url}/store/${artifact.root}`, { headers, method });
    const whole = await get({});
    expect(whole.headers.get('cache-control')).toContain('immutable');
    expect(whole.headers.get('etag')).toBe(`"${artifact.root}"`);
    expect((await whole.arrayBuffer()).byteLength).toBe(1_000);
    const part = await get({ range: 'bytes=100-199' });
    expect([part.status, part.headers.get('content-range')]).toEqual([206, 'bytes 100-199/1000']);
    expect(Buffer.compare(Buffer.from(await part.arrayBuffer()), bytes.subarray(100, 200))).toBe(0);
    const last = await get({ range: 'bytes=-10' });
    expect(Buffer.compare(Buffer.from(await last.arrayBuffer()), bytes.subarray(990))).toBe(0);
    expect((await get({ range: 'bytes=1000-' })).status).toBe(416);
    expect((await get({ 'if-none-match': `"${artifact.root}"` })).status).toBe(304);
    const head = await get({}, 'HEAD');
    expect([head.status, head.headers.get('content-length')]).toEqual([200, '1000']);
    expect((await get({}, 'DELETE')).status).toBe(405);
    for (const path of ['/store/', '/store/zz', '/store/../../etc/passwd', `/store/${artifact.root}/x`]) {
      expect((await fetch(url + path)).status, path).toBe(404);
    }
  });

  it('reads the forms of a range', () => {
    expect(parseRange(undefined, 10)).toBeNull();
    expect(parseRange('bytes=0-', 10)).toEqual({ from: 0, to: 10 });
    expect(parseRange('bytes=3-100', 10)).toEqual({ from: 3, to: 10 });
    expect(parseRange('bytes=-3', 10)).toEqual({ from: 7, to: 10 });
    expect(parseRange('bytes=10-', 10)).toBe('unsatisfiable');
    expect(parseRange('bytes=-0', 10)).toBe('unsatisfiable');
    for (const ignored of ['bytes=5-3', 'bytes=1-2,4-5', 'bytes=-', 'items=1-2', 'bytes=a-b']) {
      expect(parseRange(ignored, 10), ignored).toBeNull();
    }
  });

  it('goes on where a read broke off', async () => {
    const { folder } = await openFolder();
    const bytes = randomBytes(900_000, 11);
    const artifact = artifactOf(bytes);
    await folder.put(artifact, bytes);
    const serve = serveStore(folder, { secret });
    const ranges: (string | undefined)[] = [];
    const server = await listen((request, response) => {
      ranges.push(request.headers.range);
      if (ranges.length > 3) return void serve(request, response);
      const from = Number(/\d+/.exec(request.headers.range ?? '0')![0]);
      const head = from === 0 ? {} : { 'content-range': `bytes ${from}-899999/900000` };
      response.writeHead(from === 0 ? 200 : 206, { 'content-length': 900_000 - from, ...head });
      response.write(bytes.subarray(from, from + 200_000), () => setTimeout(() => response.destroy(), 200));
    });
    expect(Buffer.compare(await clientOf(urlOf(server), { attempts: 2 }).get(artifact), bytes)).toBe(0);
    expect(ranges).toEqual([undefined, 'bytes=200000-', 'bytes=400000-', 'bytes=600000-']);
  });

  it('tries again while the fault may pass, and then no more', async () => {
    const { folder } = await openFolder();
    const serve = serveStore(folder, { secret, nowMs: () => nowMs });
    let failures = 0;
    let requests = 0;
    const server = await listen((request, response) => {
      requests++;
      if (failures-- > 0) {
        if (failures % 2 === 0) request.socket.destroy();
        else response.writeHead(503).end('overloaded');
      } else void serve(request, response);
    });
    const bytes = randomBytes(200_000, 12);
    const artifact = artifactOf(bytes);
    const store = clientOf(urlOf(server), { attempts: 4 });
    failures = 3;
    await store.put(artifact, bytes, { grant: grantFor(artifact) });
    failures = 3;
    await store.get(artifact);
    failures = 100;
    requests = 0;
    await expect(store.get(artifact)).rejects.toMatchObject({ code: 'UNAVAILABLE', retryable: true });
    expect(requests).toBe(4);
    failures = 0;
    requests = 0;
    await expect(store.get(artifactOf(randomBytes(3, 13)))).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(requests).toBe(1);
  });

  it('is not fooled or filled by a lying store', async () => {
    const bytes = randomBytes(1_000, 14);
    const artifact = artifactOf(bytes);
    const answers: [string, string, RequestListener][] = [
      ['other bytes', 'HASH_MISMATCH', (_, response) => response.end(Buffer.alloc(1_000))],
      ['too many', 'SIZE_MISMATCH', (_, response) => response.end(Buffer.alloc(2_000))],
      [
        'endless',
        'SIZE_MISMATCH',
        (_, response) => {
          response.writeHead(200);
          const pump = setInterval(() => response.write(Buffer.alloc(600)), 1);
          response.on('close', () => clearInterval(pump));
        },
      ],
      ['too few', 'SIZE_MISMATCH', (_, response) => response.end(Buffer.alloc(10))],
      ['silence', 'UNAVAILABLE', () => undefined],
      ['a huge error', 'UNAVAILABLE', (_, response) => response.writeHead(503).end(Buffer.alloc(1_000_000))],
    ];
    for (const [what, code, listener] of answers) {
      const server = await listen(listener);
      const store = clientOf(urlOf(server), { attempts: 2, ...(what === 'silence' ? { idleMs: 50 } : {}) });
      await expect(store.get(artifact), what).rejects.toMatchObject({ code });
      await stop(server);
    }
    await expect(clientOf('http://127.0.0.1:9').get({ ...artifact, sizeBytes: 2 ** 50 })).rejects.toMatchObject({
      code: 'TOO_LARGE',
    });
  });

  it('uploads presigned parts four at a time, and begins no more once one has failed', async () => {
    const [partBytes, count] = [1_000, 10];
    const bytes = randomBytes(partBytes * count - 3, 5);
    const artifact = artifactOf(bytes);
    const taken = new Map<number, Buffer>();
    let waiting: (() => void)[] = [];
    let [begun, refused] = [0, -1];
    const listener = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
      if (request.method === 'HEAD') {
        response.writeHead(taken.size === count ? 200 : 404, { 'content-length': artifact.sizeBytes }).end();
        return;
      }
      begun++;
      const part = Number(request.url!.slice(1));
      response.writeContinue();
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      if (refused >= 0) {
        if (part === refused) response.writeHead(403).end();
        return;
      }
      // Nobody is answered before as many have come as may: fewer at once would wait for ever.
      waiting.push(() => {
        taken.set(part, Buffer.concat(chunks));
        response.writeHead(200).end();
      });
      if (waiting.length < Math.min(4, count - taken.size)) return;
      const answers = waiting;
      waiting = [];
      for (const answer of answers) answer();
    };
    const server = await listen((request, response) => void listener(request, response));
    const requests = Array.from({ length: count }, (_, i) => ({
      ...{ url: `${urlOf(server)}/${i}`, headers: { 'content-length': `${i === count - 1 ? 997 : partBytes}` } },
    }));
    const grant = { artifact, token: presignedToken({ version: 1, partBytes, requests }), expiresAtMs: nowMs };
    await clientOf(urlOf(server)).put(artifact, bytes, { grant });
    expect(Buffer.compare(Buffer.concat(requests.map((_, i) => taken.get(i)!)), bytes)).toBe(0);
    expect(begun).toBe(count);

    // The others are left without an answer: they are ended.
    taken.clear();
    [begun, refused] = [0, 3];
    await expect(clientOf(urlOf(server)).put(artifact, bytes, { grant })).rejects.toMatchObject({ code: 'FORBIDDEN' });
    expect(begun).toBeLessThanOrEqual(4);
  });

  it('says when nobody listens; ends at once when the caller gives up', async () => {
    const server = await listen(() => undefined);
    const url = urlOf(server);
    const artifact = artifactOf(randomBytes(1_000, 15));
    const controller = new AbortController();
    const waiting = clientOf(url).get(artifact, { signal: controller.signal });
    setTimeout(() => controller.abort(new Error('given up')), 20);
    await expect(waiting).rejects.toThrow('given up');
    await stop(server);
    await expect(clientOf(url).get(artifact)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('cannot be reached'),
    });
  });
});
