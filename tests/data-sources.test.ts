/**
 * @file `accrete data` from end to end as its user types it, with sources behind real HTTP: a server that breaks off, changes
 * its mind or refuses, and a hub that lists data sets; and the whole of it killed with SIGKILL in the middle.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { main } from '../src/cli/main.ts';
import { program } from '../src/cli/paths.ts';
import { download } from '../src/data/pipeline/download.ts';
import { textOf } from '../src/data/pipeline/test-support.ts';
import { testIo } from './support/test-io.ts';

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

let dir = '';
let server: Server;
let url = '';
let answers: Record<string, Answer> = {};
const requests: { readonly path: string; readonly range: string | undefined; readonly token: string | undefined }[] =
  [];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'accrete-sources-'));
  answers = {};
  requests.length = 0;
  server = createServer((request, response) => {
    const path = request.url!.split('?')[0]!;
    requests.push({ path, range: request.headers.range, token: request.headers.authorization });
    const answer = answers[path];
    if (answer === undefined) response.writeHead(404).end();
    else answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(dir, { recursive: true, force: true });
});

/** Until the client has so many bytes on its disk: what it had only received would be lost with the connection. */
async function untilKept(sizeBytes: number): Promise<void> {
  for (let tries = 0; tries < 1_000; tries++) {
    const names = (await readdir(dir, { recursive: true })).filter((name) => name.endsWith('.part'));
    const sizes = await Promise.all(names.map(async (name) => (await stat(join(dir, name)).catch(() => null))?.size));
    if (sizes.some((size) => (size ?? 0) >= sizeBytes)) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** With ranges and an ETag; the connection breaks after `breaksAfter` bytes of each answer, so many times. */
function file(bytes: Buffer, faults: { breaksAfter?: number; times?: number } = {}): Answer {
  const etag = `"${createHash('sha1').update(bytes).digest('hex')}"`;
  let left = faults.times ?? 0;
  return (request, response) => {
    const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? '');
    const from = range !== null && request.headers['if-range'] === etag ? Number(range[1]) : 0;
    if (from >= bytes.length && from > 0)
      return void response.writeHead(416, { 'content-range': `bytes */${bytes.length}`, etag }).end();
    const body = bytes.subarray(from);
    const headers = { etag, 'content-length': body.length };
    if (from > 0)
      response.writeHead(206, { ...headers, 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` });
    else response.writeHead(200, headers);
    if (left-- <= 0) return void response.end(body);
    const sent = body.subarray(0, faults.breaksAfter);
    response.write(sent);
    void untilKept(from + sent.length).finally(() => request.socket.destroy());
  };
}

const rows = (seed: string, count: number, words = 80): Buffer =>
  Buffer.from(
    Array.from({ length: count }, (_, i) => `${JSON.stringify({ text: textOf(`${seed}${i}`, words) })}\n`).join(''),
  );

async function accrete(args: readonly string[], environment: Record<string, string> = {}) {
  const { io, lines, errors } = testIo({ cwd: dir });
  const code = await main(args, { ...io, environment });
  return { code, out: lines.join('\n'), err: errors.join('\n') };
}

const options = (path: string, more: object = {}) => ({
  ...{ input: { url: `${url}${path}` }, target: join(dir, 'got'), token: null, fetch },
  ...{
    clock: { sleep: async () => {} },
    signal: new AbortController().signal,
    idleMs: 5_000,
    maxBytes: 1e9,
    say: () => {},
  },
  ...more,
});

describe('download', () => {
  const bytes = rows('download', 600);

  it('goes on with a range where the connection broke, as often as bytes come', async () => {
    answers['/a'] = file(bytes, { breaksAfter: 20_000, times: 8 });
    const record = await download(options('/a'));
    expect(await readFile(join(dir, 'got'))).toEqual(bytes);
    expect(record.sha256).toBe(createHash('sha256').update(bytes).digest('hex'));
    expect(requests.filter(({ range }) => range !== undefined).length).toBe(8);
    expect((await readdir(dir)).sort()).toEqual(['got', 'got.json']);
    await download(options('/a'));
    expect(requests).toHaveLength(9);
  });

  it('begins anew where the file changed meanwhile, and never mixes two', async () => {
    const other = rows('other', 500);
    let asked = 0;
    const [before, after] = [file(bytes, { breaksAfter: 40_000, times: 1 }), file(other)];
    answers['/a'] = (request, response) => (asked++ === 0 ? before : after)(request, response);
    await download(options('/a'));
    expect(await readFile(join(dir, 'got'))).toEqual(other);
  });

  it('says what is wrong, tries again only where that helps, and leaves nothing under the name', async () => {
    const status =
      (code: number): Answer =>
      (_, response) =>
        void response.writeHead(code).end('no');
    for (const [code, expected, tries] of [
      [404, 'NOT_FOUND', 1],
      [403, 'FORBIDDEN', 1],
      [500, 'UNAVAILABLE', 5],
      [418, 'UNAVAILABLE', 1],
    ] as const) {
      requests.length = 0;
      answers['/a'] = status(code);
      await expect(download(options('/a')), `${code}`).rejects.toMatchObject({ code: expected });
      expect(requests, `${code}`).toHaveLength(tries);
    }
    answers['/a'] = file(bytes);
    await expect(download(options('/a', { maxBytes: 1000 }))).rejects.toMatchObject({ code: 'LIMIT' });
    const wrong = { url: `${url}/a`, sha256: 'ab'.repeat(32), sizeBytes: bytes.length };
    await expect(download(options('/a', { input: wrong }))).rejects.toMatchObject({ code: 'HASH_MISMATCH' });
    answers['/a'] = (request, response) => {
      response.writeHead(200, { 'content-length': 10 }).write('12345', () => request.socket.destroy());
    };
    await expect(download(options('/a'))).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(existsSync(join(dir, 'got'))).toBe(false);
  });
});

/** The reading side of a hub: a data set's commit and card, its tree in two pages, its files. */
function serveHub(name: string, files: Record<string, Buffer>, { token }: { readonly token?: string } = {}): string {
  const sha = '0123456789abcdef0123456789abcdef01234567';
  const guarded =
    (answer: Answer): Answer =>
    (request, response) =>
      token !== undefined && request.headers.authorization !== `Bearer ${token}`
        ? void response.writeHead(401, { 'content-type': 'application/json' }).end('{"error":"gated"}')
        : answer(request, response);
  const json = (value: unknown, headers = {}): Answer =>
    guarded(
      (_, response) =>
        void response.writeHead(200, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value)),
    );
  const info = {
    _id: 'x',
    id: name,
    sha,
    cardData: { license: 'odc-by' },
    private: false,
    gated: false,
    downloads: 0,
    likes: 0,
    lastModified: '2026-01-01T00:00:00.000Z',
  };
  answers[`/api/datasets/${name}/revision/main`] = json(info);
  answers[`/api/datasets/${name}`] = json(info);
  const entries = Object.entries(files).map(([path, bytes], i) => {
    const blob = createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
    const lfs = { oid: createHash('sha256').update(bytes).digest('hex'), size: bytes.length, pointerSize: 130 };
    return { type: 'file', path, size: bytes.length, oid: blob, ...(i % 2 === 0 ? { lfs } : {}) };
  });
  const tree = `/api/datasets/${name}/tree/${sha}`;
  answers[tree] = (request, response) =>
    (request.url!.includes('cursor=2')
      ? json(entries.slice(1))
      : json(entries.slice(0, 1), { link: `<${url}${tree}?recursive=true&cursor=2>; rel="next"` }))(request, response);
  for (const [path, bytes] of Object.entries(files))
    answers[`/datasets/${name}/resolve/${sha}/${path}`] = guarded(file(bytes));
  return sha;
}

describe('accrete data', () => {
  it("prepares a hub's data set, a URL and a file into one catalog, pinned, checked and shown", async () => {
    const sha = serveHub(
      'acme/words',
      { 'data/a.jsonl.gz': gzipSync(rows('a', 60)), 'data/b.jsonl': rows('b', 40), 'README.md': Buffer.from('card') },
      { token: 'hf_read' },
    );
    answers['/web.txt'] = file(Buffer.from(Array.from({ length: 50 }, (_, i) => textOf(`web${i}`, 70)).join('\n\n')), {
      breaksAfter: 500,
      times: 1,
    });
    await writeFile(join(dir, 'own.jsonl'), rows('own', 30));
    const hub = { HF_ENDPOINT: url, HF_TOKEN: 'hf_read' };
    const at = ['--dir', 'data'];
    const add = (from: string, ...args: string[]) => accrete(['data', 'add', from, ...at, ...args], hub);
    expect(
      await accrete(['data', 'add', 'hf://datasets/acme/words', '--name', 'w', ...at], { HF_ENDPOINT: url }),
    ).toMatchObject({ code: 1, err: expect.stringContaining('FORBIDDEN') });
    expect(await add('hf://datasets/acme/none', '--name', 'w')).toMatchObject({
      code: 1,
      err: expect.stringContaining('NOT_FOUND'),
    });
    expect((await add('hf://datasets/acme/words/data/**', '--name', 'hub-words', '--share', '3')).out).toBe(
      `hub-words: 2 jsonl files, ${await filesSize('hub-words')}, licence odc-by, at commit ${sha}`,
    );
    expect((await add(`${url}/web.txt`, '--name', 'web', '--licence', 'CC0-1.0', '--unit', 'paragraph')).code).toBe(0);
    expect(await add('own.jsonl', '--name', 'own')).toMatchObject({
      code: 2,
      err: expect.stringContaining('the licence is missing'),
    });
    expect((await add('own.jsonl', '--name', 'own', '--licence', 'MIT')).code).toBe(0);
    expect(await add('own.jsonl', '--name', 'own', '--licence', 'MIT')).toMatchObject({
      code: 2,
      err: expect.stringContaining('already'),
    });
    const prepared = await accrete(
      ['data', 'prepare', ...at, '--tokenizer', 'tiny', '--shard-tokens', '8192', '--filters', 'none'],
      hub,
    );
    expect(prepared.err).not.toContain('accrete:');
    expect(prepared.out).toContain('180 of 180 documents kept');
    expect(
      requests.filter(({ path }) => path.startsWith('/web')).every(({ token }) => token === 'Bearer hf_read'),
    ).toBe(true);
    const shown = JSON.parse((await accrete(['data', 'catalog', ...at, '--json', '--seq-len', '128'])).out);
    expect(shown.mixture).toEqual({ 'hub-words': 3, web: 1, own: 1 });
    expect(shown.rows.map((row: { source: string; licence: string }) => `${row.source} ${row.licence}`)).toContain(
      'hub-words odc-by',
    );
    expect((await accrete(['data', 'check', ...at])).code).toBe(0);
    const shard = (await readdir(join(dir, 'data', 'prepared'))).find((name) => name.startsWith('web.train'))!;
    const bytes = await readFile(join(dir, 'data', 'prepared', shard));
    bytes[10]! ^= 1;
    await writeFile(join(dir, 'data', 'prepared', shard), bytes);
    expect(await accrete(['data', 'check', ...at])).toMatchObject({ code: 1, out: expect.stringContaining(shard) });
  }, 60_000);

  async function filesSize(name: string): Promise<string> {
    const { sources } = JSON.parse(await readFile(join(dir, 'data', 'sources.json'), 'utf8'));
    const bytes = sources
      .find((source: { name: string }) => source.name === name)
      .inputs.reduce((sum: number, { sizeBytes }: { sizeBytes: number }) => sum + sizeBytes, 0);
    return `${(bytes / 1024).toFixed(1)} KiB`;
  }

  it('killed with SIGKILL at any moment, goes on to the same catalog, byte for byte', async () => {
    await writeFile(join(dir, 'big.jsonl.gz'), gzipSync(rows('big', 2400, 1500), { level: 1 }));
    const prepare = (folder: string) => [
      'data',
      'prepare',
      '--dir',
      folder,
      '--tokenizer',
      'tiny',
      '--filters',
      'none',
      '--shard-tokens',
      '65536',
      '--threads',
      '1',
    ];
    for (const folder of ['whole', 'killed'])
      await accrete(['data', 'add', 'big.jsonl.gz', '--name', 'big', '--licence', 'MIT', '--dir', folder]);
    expect((await accrete(prepare('whole'))).code).toBe(0);
    const hashes = async (folder: string) =>
      Promise.all(
        (await readdir(join(dir, folder, 'prepared'))).sort().map(async (name) => [
          name,
          createHash('sha256')
            .update(await readFile(join(dir, folder, 'prepared', name)))
            .digest('hex'),
        ]),
      );
    let kills = 0;
    // Killed when a chunk has come that was not there at the start, until there is none left to wait for.
    for (let round = 0; round < 3; round++)
      if (await killAfterNextChunk(prepare('killed'), join(dir, 'killed', 'work'))) kills++;
    expect(kills).toBeGreaterThan(0);
    expect((await accrete(prepare('killed'))).code).toBe(0);
    expect(await hashes('killed')).toEqual(await hashes('whole'));
  }, 120_000);

  async function killAfterNextChunk(args: readonly string[], work: string): Promise<boolean> {
    const count = async () =>
      (await readdir(work, { recursive: true }).catch(() => [])).filter((name) => name.endsWith('.chunk')).length;
    const before = await count();
    const child = spawn(process.execPath, [program, ...args], { cwd: dir, stdio: 'ignore' });
    const ended = new Promise<boolean>((resolve) => child.once('exit', (_, signal) => resolve(signal === 'SIGKILL')));
    const timer = setInterval(async () => {
      if ((await count()) > before) child.kill('SIGKILL');
    }, 10);
    const wasKilled = await ended;
    clearInterval(timer);
    return wasKilled;
  }
});
