/** @file The orchestrator's HTTP API by its own client, with store and bus beside it, and what strangers send it. */
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { randomBytes } from '../../tests/contracts/store.ts';
import { InProcessBus } from '../bus/in-process.ts';
import { connectBus, serveBus } from '../bus/websocket.ts';
import { artifactOf } from '../protocol/artifact.ts';
import type { Envelope, JournalEntry } from '../protocol/messages.ts';
import type { Hash, Hotkey, LearnerId } from '../protocol/names.ts';
import { FsStore } from '../store/fs.ts';
import { issueGrant } from '../store/grants.ts';
import { HttpStore } from '../store/http-client.ts';
import { serveStore } from '../store/http-server.ts';
import { BaseError } from '../util/errors.ts';
import { fetchJournal, fetchRun, fetchStatus, isHealthy } from './client.ts';
import { type StartHttpServerOptions, startHttpServer } from './server.ts';
import type { Status } from './status.ts';

const hash = 'ab'.repeat(32) as Hash;
const hotkey = '5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY' as Hotkey;
const envelope: Envelope = {
  version: 1,
  kind: 'run',
  run: hash,
  signer: `hotkey:sr25519:${hotkey}`,
  seenHead: null,
  body: { anything: true },
  signature: 'cd'.repeat(64),
};
const entries: JournalEntry[] = Array.from({ length: 10 }, (_, seq) => ({
  seq,
  prevHash: hash,
  timeMs: 1_000 + seq,
  message: envelope,
}));
const status: Status = {
  version: 1,
  run: { id: hash, name: 'test', preset: 'tiny', parameters: 1_234 },
  phase: {
    ...{ index: 0, count: 1, name: 'base', targetTokens: 1_000_000 },
    ...{ countedTokens: 0, sequenceLength: 64, gates: [] },
  },
  countedTokens: 12.5,
  innerSteps: 7,
  outerSteps: 3,
  trainingLoss: 5.5,
  initialLosses: { 'held-out': 8.1 },
  heldOutLosses: {},
  routers: null,
  tokensPerSecond: 100.5,
  learners: [
    {
      hotkey,
      name: 'one',
      present: true,
      alive: true,
      innerSteps: 7,
      accepted: 1,
      rejected: 0,
      open: 1,
      countedTokens: 12.5,
      share: 1,
      loss: 5.5,
      tokensPerSecond: 100.5,
      routers: null,
      rssBytes: 1_000,
      lastCode: null,
      lastSentence: null,
    },
  ],
  validators: [{ hotkey, name: 'one', alive: true, verdicts: 1, barred: null, rssBytes: null }],
  fragments: [{ id: 0, version: 1, ageMs: 10, contributors: 1, due: true }],
  merges: [{ outerStep: 0, fragment: 0, version: 1, learners: 1, tokens: 12.5, atMs: 1_000 }],
  mergeCount: 1,
  releases: [],
  releaseCount: 0,
  ledger: { block: 3, tempo: 0, emissionRao: { [hotkey]: 10 } },
  medians: { revealToPublishMs: null },
  openDisputes: 0,
  audits: { open: 1, passed: 2, failed: 0 },
  journalEntries: 10,
  process: { startedAtMs: 1_000, rssBytes: 1_000 },
};

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(options: Partial<StartHttpServerOptions> = {}) {
  const server = await startHttpServer({
    host: '127.0.0.1',
    port: 0,
    run: () => JSON.stringify(envelope),
    journal: async (from, limit) => entries.slice(from, from + limit).map((entry) => JSON.stringify(entry)),
    status: () => status,
    ...options,
  });
  cleanups.push(() => server.close());
  return server;
}

describe('http api', () => {
  it('gives manifest, status and journal', async () => {
    const { url } = await start();
    expect(await isHealthy(url)).toBe(true);
    expect(await fetchRun(url)).toEqual(envelope);
    expect(await fetchStatus(`${url}/`)).toEqual(status);
    expect(await fetchJournal(url, { from: 0 })).toEqual(entries);
    expect(await fetchJournal(url, { from: 8, limit: 5 })).toEqual(entries.slice(8));
    expect(await fetchJournal(url, { from: 2, limit: 3 })).toEqual(entries.slice(2, 5));
    expect(await fetchJournal(url, { from: 10 })).toEqual([]);
  });

  it('bounds a page, and refuses queries that are none', async () => {
    const limits: number[] = [];
    const { url } = await start({
      journal: async (_, limit) => {
        limits.push(limit);
        return [];
      },
    });
    await fetch(`${url}/journal?limit=999999`);
    await fetch(`${url}/journal`);
    expect(limits).toEqual([1_000, 256]);
    for (const query of ['from=-1', 'from=x', 'limit=0', 'limit=1e3', 'from=99999999999999999', 'from=1&from=2']) {
      const response = await fetch(`${url}/journal?${query}`);
      expect(response.status, query).toBe(400);
      expect(await response.json(), query).toMatchObject({ code: 'BAD_QUERY' });
    }
    expect(limits).toHaveLength(2);
  });

  it('says what is not there yet, and what is not there at all', async () => {
    const { url } = await start({ run: () => null });
    await expect(fetchRun(url)).rejects.toMatchObject({ code: 'REFUSED', message: expect.stringContaining('no run') });
    const response = await fetch(`${url}/admin`);
    expect([response.status, await response.json()]).toEqual([
      404,
      { code: 'NOT_FOUND', message: 'GET /admin: there is nothing at this path' },
    ]);
  });

  it('shows no stranger our bugs', async () => {
    let error: Error = new TypeError('secret detail');
    const { url } = await start({
      status: () => {
        throw error;
      },
    });
    const broken = await fetch(`${url}/status`);
    expect(broken.status).toBe(500);
    expect(await broken.json()).toEqual({ code: 'INTERNAL', message: 'the orchestrator failed; try again' });
    error = new BaseError('BUSY', 'secret path /x', { retryable: true });
    await expect(fetchStatus(url)).rejects.toMatchObject({ code: 'REFUSED', retryable: true });
    expect(await (await fetch(`${url}/status`)).text()).not.toContain('secret');
  });

  it('refuses bodies that nobody asked for', async () => {
    const { url, port } = await start();
    const post = await fetch(`${url}/status`, { method: 'POST', body: 'x'.repeat(100_000) });
    expect([404, 413]).toContain(post.status);
    const answer = await new Promise<string>((resolve) => {
      let text = '';
      const socket = connect(port, '127.0.0.1', () => socket.write('nonsense\r\n\r\n'));
      socket.on('data', (data) => (text += data)).on('close', () => resolve(text));
      socket.on('error', () => undefined);
    });
    expect(answer).toContain('400');
    expect(await isHealthy(url)).toBe(true);
  });

  it('a taken port: which one, and what to type', async () => {
    const first = await start();
    await expect(start({ port: first.port })).rejects.toMatchObject({
      name: 'UsageError',
      message: expect.stringMatching(new RegExp(`port ${first.port} is taken .*--port`)),
    });
    await expect(start({ port: 70_000 })).rejects.toMatchObject({ name: 'UsageError' });
    await expect(start({ host: '192.0.2.1' })).rejects.toMatchObject({
      name: 'UsageError',
      message: expect.stringContaining('--host'),
    });
  });

  it('a port is free again after close, with clients still connected', async () => {
    const first = await start();
    expect(await isHealthy(first.url)).toBe(true);
    const idle = connect(first.port, '127.0.0.1');
    idle.on('error', () => undefined);
    await new Promise((resolve) => idle.once('connect', resolve));
    await first.close();
    expect(await isHealthy(first.url)).toBe(false);
    const second = await start({ port: first.port });
    expect(await isHealthy(second.url)).toBe(true);
  });

  it('carries store and bus on the same port', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'accrete-http-'));
    cleanups.push(() => rm(dir, { recursive: true, force: true }));
    const secret = new Uint8Array(32).fill(1);
    const folder = await FsStore.open(dir);
    const { url, server } = await start({ mounts: { '/store/': serveStore(folder, { secret }) } });
    const hub = new InProcessBus();
    const served = serveBus(server, hub, { access: { mayPublish: () => true, mayRespond: () => false } });
    cleanups.push(() => served.close());
    const bus = await connectBus(url);
    cleanups.push(() => bus.close());
    await hub.respond('ping', async () => 'pong');
    expect(await bus.request('ping', '', { timeoutMs: 1_000 })).toBe('pong');

    const bytes = randomBytes(3_000_000, 1);
    const artifact = artifactOf(bytes);
    const store = new HttpStore(url);
    const grant = issueGrant(secret, { artifact, learner: `${hotkey}/one` as LearnerId, expiresAtMs: 1e15 });
    await expect(store.put(artifact, bytes)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    const forged = { ...grant, token: `${grant.token.slice(0, -4)}AAAA` };
    await expect(store.put(artifact, bytes, { grant: forged })).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await store.put(artifact, bytes, { grant });
    expect(Buffer.compare(await store.get(artifact), bytes)).toBe(0);
    expect(Buffer.compare(await folder.get(artifact), bytes)).toBe(0);
    const json = await fetch(`${url}/store/${hash}`, {
      method: 'PUT',
      body: '{}',
      headers: { 'content-type': 'application/json' },
    });
    expect([json.status, ((await json.json()) as { code: string }).code]).toEqual([403, 'FORBIDDEN']);
    expect((await fetch(`${url}/store/${artifact.root}`, { method: 'HEAD' })).headers.get('content-length')).toBe(
      '3000000',
    );
  });
});

describe('http client', () => {
  it('says when nobody answers there, or somebody else', async () => {
    const answers: string[] = [];
    const server = createServer((_, response) => {
      const answer = answers.shift();
      if (answer !== undefined) response.end(answer);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    answers.push('<html>a web page</html>', '{"version":2}');
    await expect(fetchStatus(url)).rejects.toMatchObject({ code: 'MALFORMED' });
    await expect(fetchStatus(url)).rejects.toMatchObject({ code: 'MALFORMED' });
    answers.push(`${JSON.stringify(entries[0])}\n`.repeat(3));
    await expect(fetchJournal(url, { from: 0, limit: 2 })).rejects.toMatchObject({ code: 'MALFORMED' });
    answers.push('x'.repeat(40_000_000));
    await expect(fetchStatus(url)).rejects.toMatchObject({ code: 'TOO_LARGE' });
    await expect(fetchStatus(url, { timeoutMs: 30 })).rejects.toMatchObject({
      code: 'UNREACHABLE',
      message: expect.stringContaining('in time'),
    });
    const controller = new AbortController();
    const waiting = fetchStatus(url, { signal: controller.signal });
    setTimeout(() => controller.abort(new Error('given up')), 10);
    await expect(waiting).rejects.toThrow('given up');
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await expect(fetchStatus(url)).rejects.toMatchObject({ code: 'UNREACHABLE', retryable: true });
    await expect(fetchStatus('localhost:1')).rejects.toMatchObject({ name: 'UsageError' });
  });

  it('loads no fastify before a server starts', () => {
    const script = `
      await import('./src/http/server.ts');
      const { createRequire } = await import('node:module');
      console.log(Object.keys(createRequire(import.meta.url).cache).some((path) => path.includes('/fastify/')));`;
    const root = join(import.meta.dirname, '..', '..');
    const child = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], { cwd: root });
    expect(`${child.stdout}${child.stderr}`.trim()).toBe('false');
  });
});
