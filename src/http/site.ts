/**
 * @file The dashboard's files, as Vite built them: read once, served from memory. A path from outside is only ever a key of the
 * list, so there is none that leaves the folder. Where the page is not built, one says how to build it.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { extname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

interface SiteFile {
  readonly bytes: Buffer;
  /** Null where it is not smaller. */
  readonly gzipped: Buffer | null;
  readonly type: string;
  readonly etag: string;
  /** Its name holds a hash of its bytes. */
  readonly isImmutable: boolean;
}

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.webmanifest': 'application/manifest+json',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
  '.wasm': 'application/wasm',
  '.txt': 'text/plain; charset=utf-8',
};
const maxFiles = 500;
const maxFileBytes = 16 * 1024 * 1024;

/** Only what came from here; images may be part of a file that did. */
export const siteSecurityPolicy = [
  "default-src 'none'",
  ...["script-src 'self'", "style-src 'self'", "font-src 'self'", "connect-src 'self'", "worker-src 'self'"],
  ...["manifest-src 'self'", "img-src 'self' data:", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"],
].join('; ');

const notBuilt = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Accrete</title>
<h1>This run is up; its dashboard is not built</h1>
<p>In the folder of Accrete type <code>npm run build:web</code> and load this page again.</p>
<p>The same is said by <code>./bin/accrete status</code> and by the <a href="/api">read API</a>.</p></html>
`;

/** For `startHttpServer`. `dir` need not be there. */
export function siteRoutes(dir: string): (app: FastifyInstance) => Promise<void> {
  let files = readSite(dir);
  let builtAtMs = builtAt(dir);
  return async (app) => {
    const answer = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | null> => {
      const path = request.url.split('?')[0]!;
      if (path === '/' && builtAt(dir) !== builtAtMs) {
        builtAtMs = builtAt(dir);
        files = readSite(dir);
      }
      const file = files.get(path === '/' ? '/index.html' : path) ?? pageOf(files, request, path);
      if (file !== undefined) return send(request, reply, file);
      if (path !== '/') return null;
      return headers(reply).header('cache-control', 'no-cache').type(types['.html']!).send(notBuilt);
    };
    app.get('/', async (request, reply) => answer(request, reply));
    app.get('/*', async (request, reply) => {
      const answered = await answer(request, reply);
      if (answered === null) reply.callNotFound();
      return reply;
    });
  };
}

/** A page's own paths are the one page; what looks like a file is not. */
function pageOf(files: ReadonlyMap<string, SiteFile>, { headers: { accept } }: FastifyRequest, path: string) {
  const isPage = accept?.includes('text/html') === true && extname(path) === '';
  return isPage ? files.get('/index.html') : undefined;
}

const headers = (reply: FastifyReply): FastifyReply =>
  reply
    .header('content-security-policy', siteSecurityPolicy)
    .header('x-content-type-options', 'nosniff')
    .header('referrer-policy', 'no-referrer')
    .header('cross-origin-opener-policy', 'same-origin');

function send(request: FastifyRequest, reply: FastifyReply, file: SiteFile): FastifyReply {
  headers(reply)
    .header('etag', file.etag)
    .header('vary', 'accept-encoding')
    .header('cache-control', file.isImmutable ? 'public, max-age=31536000, immutable' : 'no-cache');
  if (request.headers['if-none-match'] === file.etag) return reply.code(304).send();
  const isGzip = file.gzipped !== null && acceptsGzip(request);
  if (isGzip) reply.header('content-encoding', 'gzip');
  return reply.type(file.type).send(isGzip ? file.gzipped : file.bytes);
}

/** `gzip;q=0` refuses it. */
const acceptsGzip = ({ headers: { 'accept-encoding': accepted = '' } }: FastifyRequest): boolean =>
  /(^|,)\s*gzip\s*(,|;\s*q=(1|0\.\d*[1-9])|$)/.test(String(accepted).slice(0, 500));

function gzippedOf(bytes: Buffer): Buffer | null {
  const gzipped = gzipSync(bytes, { level: 9 });
  return gzipped.byteLength < bytes.byteLength * 0.9 ? gzipped : null;
}

const builtAt = (dir: string): number => statSync(join(dir, 'index.html'), { throwIfNoEntry: false })?.mtimeMs ?? 0;

/** By path, with a leading slash; nothing hidden, no links out of the folder. */
function readSite(dir: string): ReadonlyMap<string, SiteFile> {
  const files = new Map<string, SiteFile>();
  if (builtAt(dir) === 0) return files;
  for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.name.startsWith('.') || files.size >= maxFiles) continue;
    const full = join(entry.parentPath, entry.name);
    const type = types[extname(entry.name)];
    if (type === undefined || statSync(full).size > maxFileBytes) continue;
    const bytes = readFileSync(full);
    const path = full.slice(dir.length).replaceAll('\\', '/');
    files.set(path.startsWith('/') ? path : `/${path}`, {
      ...{ bytes, type, gzipped: gzippedOf(bytes) },
      etag: `W/"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"`,
      isImmutable: /^\/assets\/.*-[\w-]{8,}\.\w+$/.test(path),
    });
  }
  return files;
}
