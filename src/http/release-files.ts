/**
 * @file Release folders over HTTP, only read: `GET /releases/` lists them with the sizes of their files,
 * `GET /releases/N/FILE` gives one file. Names come from the folder itself, never from the request.
 */
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { type Log, silentLog } from '../util/clock.ts';
import type { RawHandler } from './server.ts';

interface Release {
  readonly release: number;
  readonly files: readonly { readonly name: string; readonly sizeBytes: number }[];
}

/** `dir` holds folders `release-N`. Never rejects. */
export function serveReleases(dir: string, log: Log = silentLog): RawHandler {
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
      const asked = /^(\d{1,15})\/([\w.-]{1,128})$/.exec(path);
      const files = asked === null ? [] : await listFiles(dir, Number(asked[1]));
      const file = files.find(({ name }) => name === asked![2]);
      if (file === undefined) return refuse(404, 'NOT_FOUND', 'there is no such file of a release');
      response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': file.sizeBytes });
      await pipeline(createReadStream(join(dir, `release-${Number(asked![1])}`, file.name)), response);
    } catch (error) {
      log.error('release request failed', { error });
      if (response.headersSent) response.destroy();
      else refuse(500, 'INTERNAL', 'the orchestrator failed; try again');
    }
  };
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
