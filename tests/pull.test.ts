/**
 * @file `accrete pull` as an operator types it: a release of a recorded run from the orchestrator's own HTTP server, and a
 * repository from a server that speaks the hub's interface; a killed pull goes on.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { main } from '../src/cli/main.ts';
import type { HttpServer } from '../src/http/listen.ts';
import { pieceBytes } from '../src/protocol/artifact.ts';
import type { JournalEntry } from '../src/protocol/messages.ts';
import { type RecordedRun, recordRun } from './support/recorded-run.ts';
import { serveFolder } from './support/serve-folder.ts';
import { flip, ofKind, removeFolders, temporaryFolder } from './support/tampering.ts';
import { testIo } from './support/test-io.ts';

let cwd: string;
beforeEach(() => void (cwd = temporaryFolder()));

async function accrete(argv: readonly string[], environment: Record<string, string> = {}) {
  const { io, lines, errors } = testIo({ cwd });
  const exitCode = await main([...argv], { ...io, environment });
  return { exitCode, out: lines.join('\n'), err: errors.join('\n') };
}

describe('a run', () => {
  let run: RecordedRun;
  let server: HttpServer;
  let newest: number;
  const folderOf = (release: number): string => join(run.dir, 'releases', `release-${release}`);

  beforeAll(async () => {
    run = await recordRun(temporaryFolder());
    server = await serveFolder(run.dir, run.entries);
    newest = ofKind(run.entries, 'release-published', -1).body.release;
  }, 120_000);
  afterAll(async () => {
    await server.close();
    await run.close();
    removeFolders();
  });

  async function served(entries: readonly JournalEntry[]): Promise<string> {
    const other = await serveFolder(run.dir, entries);
    closing.push(() => other.close());
    return other.url;
  }
  const closing: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0)) await close();
  });

  it('gives its newest release, as the record has it', async () => {
    const { exitCode, out, err } = await accrete(['pull', server.url, '--out', 'r', '--json']);
    expect(exitCode, err).toBe(0);
    const names = readdirSync(folderOf(newest)).sort();
    expect(readdirSync(join(cwd, 'r')).sort()).toEqual(names);
    for (const name of names)
      expect(Buffer.compare(readFileSync(join(cwd, 'r', name)), readFileSync(join(folderOf(newest), name)))).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ files: names.length, source: `release ${newest} of ${server.url}` });
    expect(readdirSync(cwd)).toEqual(['r']);
  });

  it('refuses a file that is not what the record says, by name', async () => {
    const path = join(folderOf(newest), 'model.safetensors');
    const good = readFileSync(path);
    flip(path);
    try {
      const { exitCode, err } = await accrete(['pull', server.url, '--out', 'r']);
      expect(exitCode).toBe(1);
      expect(err).toMatch(/model\.safetensors: piece 1 of 1 is not what release .* \[TAMPERED\]/);
      expect(existsSync(join(cwd, 'r'))).toBe(false);
    } finally {
      writeFileSync(path, good);
    }
  });

  it('refuses a record that its own rules do not allow', async () => {
    const { seq } = ofKind(run.entries, 'release-published', -1);
    const changed = structuredClone(run.entries) as JournalEntry[];
    const { files } = changed[seq]!.message.body as { files: { artifact: { root: string } }[] };
    files[0]!.artifact.root = 'ab'.repeat(32);
    const { exitCode, err } = await accrete(['pull', await served(changed), '--out', 'r']);
    expect(exitCode).toBe(1);
    expect(err).toMatch(new RegExp(`the record is false at entry ${seq}: .*\\[BAD_RECORD\\]`));
  });

  it('says which releases there are, and which are no longer there', async () => {
    const unknown = await accrete(['pull', server.url, '--release', '999', '--out', 'r']);
    expect(unknown.err).toMatch(new RegExp(`no published release 999; the newest is ${newest} \\[NO_SUCH_RELEASE\\]`));
    const early = run.entries.slice(0, ofKind(run.entries, 'release-published').seq);
    const none = await accrete(['pull', await served(early), '--out', 'r']);
    expect(none.err).toMatch(/has published no release yet/);
    const lost = ofKind(run.entries, 'release-published').body.release;
    rmSync(folderOf(lost), { recursive: true, force: true });
    const gone = await accrete(['pull', server.url, '--release', String(lost), '--out', 'r']);
    expect(gone.err).toMatch(/the server answers 404: it is not there \[NOT_THERE\]/);
    expect(existsSync(join(cwd, 'r'))).toBe(false);
  });

  it('is refused where the words are none', async () => {
    for (const argv of [
      ['pull', 'nothing'],
      ['pull', 'ftp://x/y'],
      ['pull', server.url, '--revision', 'main'],
    ])
      expect((await accrete(argv)).exitCode, argv.join(' ')).toBe(2);
  });
});

describe('a hub', () => {
  const large = Buffer.alloc(2 * pieceBytes + 9, 'accrete');
  const files: Readonly<Record<string, Buffer>> = {
    'config.json': Buffer.from('{}\n'),
    'model.safetensors': large,
    'gguf/model.gguf': Buffer.from('GGUF'),
    '.gitattributes': Buffer.from('*'),
  };
  const sha = 'c0ffee'.padEnd(40, '0');
  let hub: Server;
  let cdn: Server;
  let environment: Record<string, string>;
  let asked: IncomingMessage[];
  /** Bytes of a large file as the CDN sends them. */
  let sends: (response: ServerResponse, from: number, to: number) => void;
  let status: number | null;

  const listen = async (handler: (request: IncomingMessage, response: ServerResponse) => void): Promise<Server> => {
    const server = createServer(handler);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return server;
  };
  const urlOf = (server: Server): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  beforeEach(async () => {
    [asked, status] = [[], null];
    sends = (response, from, to) => void response.end(large.subarray(from, to));
    cdn = await listen((request, response) => {
      asked.push(request);
      const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range!)!.map(Number) as [number, number, number];
      response.writeHead(206, { 'content-length': to + 1 - from });
      sends(response, from, to + 1);
    });
    hub = await listen((request, response) => {
      asked.push(request);
      answer(request, response);
    });
    environment = { HF_ENDPOINT: urlOf(hub), HF_TOKEN: 'hf_test' };
  });
  afterEach(() => {
    for (const server of [hub, cdn]) {
      server.closeAllConnections();
      server.close();
    }
  });

  function answer({ url, headers }: IncomingMessage, response: ServerResponse): void {
    const path = url!.split('?')[0]!;
    if (status !== null) return void response.writeHead(status).end();
    if (headers.authorization !== 'Bearer hf_test') return void response.writeHead(401).end();
    const isKnown = /^\/api\/models\/some\/model\/revision\/(main|release-4)$/.test(path);
    if (isKnown) return void response.end(JSON.stringify({ id: 'some/model', sha }));
    if (path === `/api/models/some/model/tree/${sha}`) return void tree(url!, response);
    const name = /^\/some\/model\/resolve\/[0-9a-f]{40}\/(.*)$/.exec(path)?.[1];
    const bytes = name === undefined ? undefined : files[name];
    if (bytes === undefined) return void response.writeHead(404).end();
    if (bytes === large) return void response.writeHead(302, { location: `${urlOf(cdn)}/blob` }).end();
    response.end(bytes);
  }

  /** Two pages. */
  function tree(url: string, response: ServerResponse): void {
    const names = Object.keys(files).sort();
    const isSecond = url.includes('cursor=');
    if (!isSecond) response.setHeader('link', `<${urlOf(hub)}${url}&cursor=2>; rel="next"`);
    const entries = (isSecond ? names.slice(2) : names.slice(0, 2)).map((path) => {
      const bytes = files[path]!;
      const oid = createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
      const lfs = { oid: createHash('sha256').update(bytes).digest('hex'), size: bytes.length, pointerSize: 134 };
      return { type: 'file', path, size: bytes.length, oid, ...(bytes === large ? { lfs } : {}) };
    });
    response.end(JSON.stringify([{ type: 'directory', path: 'gguf', oid: '0'.repeat(40), size: 0 }, ...entries]));
  }

  it('gives a checkpoint, checked, and its token goes to nobody else', async () => {
    const { exitCode, out, err } = await accrete(['pull', 'hf://some/model', '--out', 'm'], environment);
    expect(exitCode, err).toBe(0);
    expect(readdirSync(join(cwd, 'm')).sort()).toEqual(['config.json', 'model.safetensors']);
    expect(Buffer.compare(readFileSync(join(cwd, 'm', 'model.safetensors')), large)).toBe(0);
    expect(out).toContain('some/model at c0ffee000000, 2 files');
    const blobs = asked.filter(({ url }) => url === '/blob');
    expect(blobs.map(({ headers }) => headers.authorization)).toEqual([undefined]);
    const all = await accrete(['pull', 'some/model', '--release', '4', '--all', '--out', 'all'], environment);
    expect(all.exitCode, all.err).toBe(0);
    expect(readFileSync(join(cwd, 'all', 'gguf', 'model.gguf'), 'utf8')).toBe('GGUF');
  });

  it('refuses a file whose hash is another', async () => {
    sends = (response, from, to) => void response.end(Buffer.from(large.subarray(from, to)).fill(1, 5, 6));
    const { exitCode, err } = await accrete(['pull', 'some/model', '--out', 'm'], environment);
    expect({ exitCode, isThere: existsSync(join(cwd, 'm')) }).toEqual({ exitCode: 1, isThere: false });
    expect(err).toMatch(/^accrete: model\.safetensors is not what some\/model at c0ffee000000 names.*\[TAMPERED\]/);
  });

  it('says what its answers mean', async () => {
    const ask = async () => (await accrete(['pull', 'some/model', '--out', 'm'], environment)).err;
    const cases: [number, RegExp][] = [
      [401, /answers 401; set HF_TOKEN .*\[NOT_ALLOWED\]/],
      [403, /answers 403; set HF_TOKEN .*\[NOT_ALLOWED\]/],
      [404, /has no revision main, or there is no such repository .*\[NO_SUCH_RELEASE\]/],
    ];
    for (const [code, sentence] of cases) {
      status = code;
      expect(await ask()).toMatch(sentence);
    }
    status = null;
    const unknown = await accrete(['pull', 'some/model', '--revision', 'v9', '--out', 'm'], environment);
    expect(unknown.err).toMatch(/has no revision v9/);
    expect(existsSync(join(cwd, 'm'))).toBe(false);
  }, 60_000);

  it('goes on where a killed process stopped', async () => {
    const half = pieceBytes + 5;
    sends = (response, from, to) => void response.write(large.subarray(from, Math.min(to, half)));
    const program = join(import.meta.dirname, '..', 'bin', 'accrete');
    const child = spawn(process.execPath, [program, 'pull', 'some/model', '--out', 'm'], {
      ...{ cwd, env: { ...process.env, ...environment }, stdio: 'ignore' },
    });
    const partial = join(cwd, '.m.partial', 'files', 'model.safetensors');
    while (!existsSync(partial) || readFileSync(partial).length < half)
      await new Promise((resolve) => setTimeout(resolve, 20));
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(existsSync(join(cwd, 'm'))).toBe(false);
    sends = (response, from, to) => void response.end(large.subarray(from, to));
    asked = [];
    const { exitCode, out, err } = await accrete(['pull', 'some/model', '--out', 'm', '--json'], environment);
    expect(exitCode, err).toBe(0);
    expect(Buffer.compare(readFileSync(join(cwd, 'm', 'model.safetensors')), large)).toBe(0);
    expect(asked.find(({ url }) => url === '/blob')!.headers.range).toBe(`bytes=${half}-${large.length - 1}`);
    expect(JSON.parse(out).fetchedBytes).toBe(large.length - half);
  }, 60_000);
});
