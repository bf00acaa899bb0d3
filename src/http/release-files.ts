/**
 * @file Release folders over HTTP, only read: `GET /releases/` lists them with the sizes of their files,
 * `GET /releases/N/FILE` gives one file, or a range of it, and `GET /releases/N/FILE/pieces` the hashes of its pieces, by which
 * a reader checks each against the record's root. Names come from the folder itself, never from the request.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { pieceBytes } from '../protocol/artifact.ts';
import { leafPrefix } from '../protocol/merkle.ts';
import { parseRange } from '../util/byte-range.ts';
import { type Log, silentLog } from '../util/clock.ts';
import type { RawHandler } from './server.ts';

const maxHashedFiles = 64;

interface Release {
  readonly release: number;
  readonly files: readonly { readonly name: string; readonly sizeBytes: number }[];
}

/** `dir` holds folders `release-N`. Never rejects. */
export function serveReleases(dir: string, log: Log = silentLog): RawHandler {
  const hashes = new PieceHashes();
  return async (request, response) => {
    request.on('error', () => undefined);
    response.on('error', () => undefined);
    const refuse = (status: number, code: string, message: string): void => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ code, message }));
    };
    try {
      if (request.method !== 'GET') return refuse(405, 'FORBIDDEN', `expected GET, got ${request.method}`);
      const path = (request.url ?? '').split('?')[0]!.replace(/^\/releases\//, '');
      if (path === '') {
        const body = JSON.stringify(await listReleases(dir));
        response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' }).end(body);
        return;
      }
      const asked = /^(\d{1,15})\/([\w.-]{1,128})(\/pieces)?$/.exec(path);
      const files = asked === null ? [] : await listFiles(dir, Number(asked[1]));
      const file = files.find(({ name }) => name === asked![2]);
      if (file === undefined) return refuse(404, 'NOT_FOUND', 'there is no such file of a release');
      const full = join(dir, `release-${Number(asked![1])}`, file.name);
      if (asked![3] !== undefined) {
        response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' });
        response.end(JSON.stringify({ pieceBytes, hashes: await hashes.of(full) }));
        return;
      }
      await sendFile(full, file.sizeBytes, request, response);
    } catch (error) {
      log.error('release request failed', { error });
      if (response.headersSent) response.destroy();
      else refuse(500, 'INTERNAL', 'the orchestrator failed; try again');
    }
  };
}

async function sendFile(
  path: string,
  sizeBytes: number,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const type = { 'content-type': 'application/octet-stream', 'accept-ranges': 'bytes' };
  const range = parseRange(request.headers.range, sizeBytes);
  if (range === 'unsatisfiable') {
    response.writeHead(416, { 'content-range': `bytes */${sizeBytes}` }).end();
    return;
  }
  const { from, to } = range ?? { from: 0, to: sizeBytes };
  const part = range === null ? {} : { 'content-range': `bytes ${from}-${to - 1}/${sizeBytes}` };
  response.writeHead(range === null ? 200 : 206, { ...type, ...part, 'content-length': to - from });
  if (to === from) response.end();
  else await pipeline(createReadStream(path, { start: from, end: to - 1 }), response);
}

/** Release folders do not change: the hashes of a file are made once, and kept for the newest files that were asked for. */
class PieceHashes {
  readonly #known = new Map<string, Promise<readonly string[]>>();

  async of(path: string): Promise<readonly string[]> {
    const { size, mtimeMs } = await stat(path);
    const key = `${path} ${size} ${mtimeMs}`;
    const known = this.#known.get(key) ?? hashPieces(path);
    this.#known.set(key, known);
    known.catch(() => this.#known.delete(key));
    const oldest = this.#known.keys().next().value;
    if (this.#known.size > maxHashedFiles && oldest !== undefined) this.#known.delete(oldest);
    return await known;
  }
}

async function hashPieces(path: string): Promise<readonly string[]> {
  const hashes: string[] = [];
  let piece = createHash('sha256').update(leafPrefix);
  let filled = 0;
  const end = (): void => {
    hashes.push(piece.digest('hex'));
    [piece, filled] = [createHash('sha256').update(leafPrefix), 0];
  };
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>)
    for (let at = 0; at < chunk.byteLength; ) {
      const take = Math.min(pieceBytes - filled, chunk.byteLength - at);
      piece.update(chunk.subarray(at, at + take));
      [at, filled] = [at + take, filled + take];
      if (filled === pieceBytes) end();
    }
  if (filled > 0) end();
  return hashes;
}

async function listReleases(dir: string): Promise<Release[]> {
  const numbers = (await readdir(dir)).flatMap((name) => /^release-(\d{1,15})$/.exec(name)?.[1] ?? []).map(Number);
  const releases: Release[] = [];
  for (const release of numbers.sort((a, b) => a - b)) releases.push({ release, files: await listFiles(dir, release) });
  return releases;
}

/** Empty where the folder is not there (any more). */
async function listFiles(dir: string, release: number): Promise<Release['files'][number][]> {
  const folder = join(dir, `release-${release}`);
  const names = await readdir(folder).catch(() => []);
  const files: Release['files'][number][] = [];
  for (const name of names.sort()) {
    const info = await stat(join(folder, name)).catch(() => null);
    if (info?.isFile()) files.push({ name, sizeBytes: info.size });
  }
  return files;
}
