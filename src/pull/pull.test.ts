/**
 * @file Pulling pieces from a real server of release folders: in parallel, resumed, each checked; wrong bytes, a full disk and
 * a server that breaks off leave no target.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { serveReleases } from '../http/release-files.ts';
import { pieceBytes } from '../protocol/artifact.ts';
import { hashArtifact } from '../store/node-hash.ts';
import { Rng } from '../util/rng.ts';
import { PullError } from './errors.ts';
import { type PullOptions, partialPullOf, pull } from './pull.ts';
import { releaseSource } from './run-source.ts';
import type { PullSource } from './source.ts';

let dir: string;
let server: Server;
let url: string;
/** Ranges that were asked for. */
let asked: string[];
/** Answers instead of the release folders; false: go on. */
let meddle: (request: IncomingMessage, response: ServerResponse) => boolean;

const large = randomBytes(2 * pieceBytes + 1_000);
const contents: Readonly<Record<string, Buffer>> = {
  'config.json': Buffer.from('{"a": 1}'),
  'empty.txt': Buffer.alloc(0),
  'model.safetensors': large,
};

function randomBytes(size: number): Buffer {
  const rng = new Rng('pull');
  return Buffer.from(Uint32Array.from({ length: Math.ceil(size / 4) }, () => rng.uint32()).buffer, 0, size);
}

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'accrete-pull-'));
  mkdirSync(join(dir, 'releases', 'release-3'), { recursive: true });
  for (const [name, bytes] of Object.entries(contents)) writeFileSync(join(dir, 'releases', 'release-3', name), bytes);
  asked = [];
  meddle = () => false;
  const releases = serveReleases(join(dir, 'releases'));
  server = createServer((request, response) => {
    if (request.headers.range) asked.push(`${request.url!.split('/').at(-1)} ${request.headers.range}`);
    if (!meddle(request, response)) void releases(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  rmSync(dir, { recursive: true });
});

const never = new AbortController().signal;
const retry = { sleep: async () => {}, random: () => 0.5 };
const files = Object.entries(contents).map(([name, bytes]) => ({ name, artifact: hashArtifact(bytes) }));

const openSource = (signal = never): Promise<PullSource> =>
  releaseSource({ url, release: 3, identity: 'test', files }, { retry, signal });
const target = (): string => join(dir, 'out');
const run = async (changes: Partial<PullOptions> = {}) =>
  await pull(await openSource(), { target: target(), parallel: 3, signal: never, retry, ...changes });

function expectWhole(): void {
  for (const [name, bytes] of Object.entries(contents))
    expect(Buffer.compare(readFileSync(join(target(), name)), bytes), name).toBe(0);
  expect(existsSync(partialPullOf(target()))).toBe(false);
}

async function failure(work: Promise<unknown>): Promise<PullError> {
  const error = await work.then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(PullError);
  expect(existsSync(target())).toBe(false);
  return error as PullError;
}

const isPiece = ({ headers, url: path }: IncomingMessage, index: number): boolean =>
  path!.endsWith('model.safetensors') && headers.range!.startsWith(`bytes=${index * pieceBytes}-`);

describe('a pull', () => {
  it('fetches each piece once, and makes the folder whole', async () => {
    const { fetchedBytes, totalBytes } = await run();
    expectWhole();
    expect(fetchedBytes).toBe(totalBytes);
    expect(asked.sort()).toEqual([
      'config.json bytes=0-7',
      `model.safetensors bytes=0-${pieceBytes - 1}`,
      `model.safetensors bytes=${pieceBytes}-${2 * pieceBytes - 1}`,
      `model.safetensors bytes=${2 * pieceBytes}-${large.length - 1}`,
    ]);
  });

  it('goes on after an interruption, and fetches only what is missing', async () => {
    const stop = new AbortController();
    let pieces = 0;
    // The last piece never comes: whoever waits for it is interrupted.
    meddle = (request, response) => {
      if (!isPiece(request, 2)) return false;
      response.writeHead(206, { 'content-length': 1_000 }).write(large.subarray(2 * pieceBytes, 2 * pieceBytes + 10));
      return true;
    };
    const onProgress = ({ doneBytes }: { doneBytes: number }) => {
      pieces = doneBytes;
      if (doneBytes === 8 + 2 * pieceBytes + 10) stop.abort();
    };
    const source = await openSource(stop.signal);
    const error = await failure(pull(source, { target: target(), parallel: 2, signal: stop.signal, onProgress }));
    expect(error.code).toBe('INTERRUPTED');
    expect(pieces).toBe(8 + 2 * pieceBytes + 10);
    asked = [];
    meddle = () => false;
    expect((await run()).fetchedBytes).toBe(1_000);
    expectWhole();
    expect(asked).toEqual([`model.safetensors bytes=${2 * pieceBytes}-${large.length - 1}`]);
  });

  it('fetches again what was damaged on the disk in between', async () => {
    meddle = (request) => isPiece(request, 2) && request.destroy() !== undefined;
    await failure(run());
    const path = join(partialPullOf(target()), 'files', 'model.safetensors');
    const bytes = readFileSync(path);
    bytes[pieceBytes + 5]! ^= 1;
    writeFileSync(path, bytes);
    meddle = () => false;
    expect((await run()).fetchedBytes).toBe(pieceBytes + 1_000);
    expectWhole();
  });

  it('reads on where a connection breaks off', async () => {
    let broken = 0;
    meddle = (request, response) => {
      if (!isPiece(request, 1) || broken++ > 0) return false;
      response.writeHead(206, { 'content-length': pieceBytes });
      response.write(large.subarray(pieceBytes, pieceBytes + 700), () => response.destroy());
      return true;
    };
    await run();
    expectWhole();
    expect(broken).toBe(1);
    expect(asked).toContain(`model.safetensors bytes=${pieceBytes + 700}-${2 * pieceBytes - 1}`);
  });

  it('refuses a tampered piece by its name, and keeps the good ones', async () => {
    meddle = (request, response) => {
      if (!isPiece(request, 1)) return false;
      const bytes = Buffer.from(large.subarray(pieceBytes, 2 * pieceBytes));
      bytes[77]! ^= 1;
      response.writeHead(206, { 'content-length': bytes.length }).end(bytes);
      return true;
    };
    const error = await failure(run());
    expect(error.code).toBe('TAMPERED');
    expect(error.message).toMatch(/^model\.safetensors: piece 2 of 3 is not what release 3 of http/);
    meddle = () => false;
    expect((await run()).fetchedBytes).toBeLessThanOrEqual(pieceBytes + 1_000);
    expectWhole();
  });

  it('refuses a list of piece hashes that the root does not cover', async () => {
    meddle = ({ url: path }, response) => {
      if (!path!.endsWith('/pieces')) return false;
      response.end(JSON.stringify({ pieceBytes, hashes: ['ab', 'cd', 'ef'].map((each) => each.repeat(32)) }));
      return true;
    };
    const error = await failure(run());
    expect(error.code).toBe('TAMPERED');
    expect(error.message).toMatch(/model\.safetensors: the list of its piece hashes/);
  });

  it('checks a file whole where the server gives no list', async () => {
    const older: typeof meddle = ({ url: path }, response) => {
      if (!path!.endsWith('/pieces')) return false;
      response.writeHead(404).end();
      return true;
    };
    meddle = older;
    await run();
    expectWhole();
    rmSync(target(), { recursive: true });
    meddle = (request, response) => {
      if (older(request, response)) return true;
      if (!request.url!.endsWith('model.safetensors')) return false;
      response.writeHead(200).end(Buffer.concat([large.subarray(0, -1), Buffer.from([large.at(-1)! ^ 1])]));
      return true;
    };
    const error = await failure(run());
    expect(error.message).toMatch(/^model\.safetensors is not what release 3/);
  });

  it('gives up on a server that is not there, or has lost the release', async () => {
    meddle = (_, response) => {
      response.writeHead(503).end();
      return true;
    };
    expect((await failure(run())).message).toMatch(/the server answers 503/);
    meddle = () => false;
    const source = await openSource();
    rmSync(join(dir, 'releases', 'release-3'), { recursive: true });
    const lost = await failure(pull(source, { target: target(), parallel: 1, signal: never }));
    expect({ code: lost.code, sentence: lost.message }).toEqual({
      code: 'NOT_THERE',
      sentence: 'config.json: the server answers 404: it is not there',
    });
  });

  it('overwrites nothing, and says where it cannot write', async () => {
    mkdirSync(target());
    const error = await run().catch((reason: PullError) => reason);
    expect((error as PullError).code).toBe('TARGET_EXISTS');
    rmSync(target(), { recursive: true });
    const lost = await failure(run({ target: join(dir, 'no', 'folder') }));
    expect({ code: lost.code, says: /make that first/.test(lost.message) }).toEqual({
      code: 'WRITE_FAILED',
      says: true,
    });
    writeFileSync(join(dir, 'file'), '');
    expect((await failure(run({ target: join(dir, 'file', 'folder') }))).code).toBe('WRITE_FAILED');
  });

  it('says that there is no room before it fetches', async () => {
    const source = await openSource();
    const [first] = source.files;
    const huge: PullSource = { ...source, files: [{ ...first!, sizeBytes: 2 ** 52 }] };
    asked = [];
    const error = await failure(pull(huge, { target: target(), parallel: 1, signal: never }));
    expect({ code: error.code, asked }).toEqual({ code: 'DISK_FULL', asked: [] });
  });

  it('begins anew where something of another release lies', async () => {
    meddle = (request) => isPiece(request, 2) && request.destroy() !== undefined;
    await failure(run());
    meddle = () => false;
    const other = { ...(await openSource()), identity: 'another' };
    const { fetchedBytes, totalBytes } = await pull(other, { target: target(), parallel: 2, signal: never });
    expect(fetchedBytes).toBe(totalBytes);
    expectWhole();
  });
});
