/**
 * @file The folder store over HTTP: `GET` and `HEAD /store/<root>` for everybody, with ranges, and `PUT` for who holds a
 * grant for exactly that artifact. Bodies stream to the disk and are hashed on the way; errors are `{code, message}`.
 * A server that hands on `checkContinue` as a request lets a refusal come before the body (`Expect: 100-continue`).
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { type Hash, hashSchema } from '../protocol/names.ts';
import { parseRange } from '../util/byte-range.ts';
import { type Log, type Metrics, silentLog, silentMetrics } from '../util/clock.ts';
import { notFound, StoreError, type StoreErrorCode } from './errors.ts';
import type { FsStore } from './fs.ts';
import { type GrantContent, openGrant } from './grants.ts';

export interface ServeStoreOptions {
  /** Secret of the grants (`issueGrant`). */
  readonly secret: Uint8Array;
  readonly nowMs?: () => number;
  /** An upload that brings nothing for so long is ended. */
  readonly idleMs?: number;
  readonly maxUploads?: number;
  /** After an upload is in the store. */
  readonly onStored?: (grant: GrantContent) => void;
  readonly log?: Log;
  readonly metrics?: Metrics;
}

export type HttpHandler = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

const statusOf: Readonly<Record<StoreErrorCode, number>> = {
  NOT_FOUND: 404,
  HASH_MISMATCH: 422,
  SIZE_MISMATCH: 422,
  TOO_LARGE: 413,
  DISK_FULL: 507,
  FORBIDDEN: 403,
  EXPIRED: 403,
  CLOCK_SKEW: 403,
  BUSY: 409,
  UNAVAILABLE: 503,
};

/** Handles every request below `/store/`. Never rejects. */
export function serveStore(store: FsStore, options: ServeStoreOptions): HttpHandler {
  const { log = silentLog, metrics = silentMetrics } = options;
  const uploads: Hash[] = [];
  return async (request, response) => {
    // A peer that goes away in the middle is no error of ours.
    request.on('error', () => undefined);
    response.on('error', () => undefined);
    try {
      const root = rootOf(request.url ?? '');
      if (request.method === 'PUT') await takeUpload(store, root, { request, response, uploads, ...options });
      else if (request.method === 'GET' || request.method === 'HEAD')
        await sendArtifact(store, root, request, response);
      else sendError(response, 405, 'FORBIDDEN', `expected GET, HEAD or PUT, got ${request.method}`);
    } catch (error) {
      sendFailure(response, error, { log, metrics });
    }
  };
}

export function sendFailure(
  response: ServerResponse,
  error: unknown,
  { log, metrics }: { readonly log: Log; readonly metrics: Metrics },
): void {
  metrics.count('store_http_errors_total', 1, { code: error instanceof StoreError ? error.code : 'INTERNAL' });
  if (!(error instanceof StoreError) && !response.destroyed) log.error('store request failed', { error });
  if (error instanceof StoreError) sendError(response, statusOf[error.code], error.code, error.message);
  else sendError(response, 500, 'UNAVAILABLE', 'the store failed; try again');
}

export function rootOf(url: string): Hash {
  const name = url.split('?')[0]!.replace(/^\/store\//, '');
  const root = hashSchema.safeParse(name);
  if (!root.success) throw notFound(JSON.stringify(name.slice(0, 80)));
  return root.data;
}

async function sendArtifact(
  store: FsStore,
  root: Hash,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const sizeBytes = await store.stat(root);
  if (sizeBytes === null) throw notFound(root);
  response.setHeader('etag', `"${root}"`);
  response.setHeader('accept-ranges', 'bytes');
  // A root names these bytes for ever.
  response.setHeader('cache-control', 'public, max-age=31536000, immutable');
  response.setHeader('content-type', 'application/octet-stream');
  if (request.headers['if-none-match'] === `"${root}"`) {
    response.writeHead(304).end();
    return;
  }
  const range = parseRange(request.headers.range, sizeBytes);
  if (range === 'unsatisfiable') {
    response.setHeader('content-range', `bytes */${sizeBytes}`);
    sendError(response, 416, 'SIZE_MISMATCH', `expected a range within ${sizeBytes} bytes`);
    return;
  }
  const { from, to } = range ?? { from: 0, to: sizeBytes };
  if (range !== null) response.setHeader('content-range', `bytes ${from}-${to - 1}/${sizeBytes}`);
  response.writeHead(range === null ? 200 : 206, { 'content-length': to - from });
  if (request.method === 'HEAD') {
    response.end();
    return;
  }
  try {
    await pipeline(store.read(root, { from, to }), response);
  } catch {
    response.destroy(); // The length is promised already: cutting off is the only way to say it.
  }
}

interface Upload extends ServeStoreOptions {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Roots that are being written, once for each upload. */
  readonly uploads: Hash[];
}

async function takeUpload(store: FsStore, root: Hash, upload: Upload): Promise<void> {
  const { request, response, uploads } = upload;
  const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
  if (token === undefined) throw new StoreError('FORBIDDEN', 'expected a grant in the Authorization header');
  const grant = openGrant(upload.secret, token, (upload.nowMs ?? Date.now)());
  const { artifact } = grant;
  if (artifact.root !== root) throw new StoreError('FORBIDDEN', `the grant is for ${artifact.root}, not for ${root}`);
  const length = request.headers['content-length'];
  if (length !== undefined && Number(length) > artifact.sizeBytes) throw tooLarge(artifact.sizeBytes);
  if ((await store.stat(root)) === artifact.sizeBytes) {
    request.resume(); // At most as many bytes as were granted.
    response.writeHead(200).end();
    return;
  }
  // The same artifact at once does no harm: whoever comes first names it. But it takes a place for each.
  const isBusy = uploads.length >= (upload.maxUploads ?? 64) || uploads.filter((other) => other === root).length >= 4;
  if (isBusy) throw new StoreError('BUSY', `${root}: too many uploads at once; try again`, { retryable: true });
  uploads.push(root);
  try {
    if (request.headers.expect !== undefined) response.writeContinue();
    await store.write(artifact, bodyOf(request, artifact.sizeBytes, upload.idleMs ?? 30_000));
  } finally {
    uploads.splice(uploads.indexOf(root), 1);
  }
  response.writeHead(201).end();
  upload.onStored?.(grant);
}

/** The body, cut off as soon as it is longer than granted, silent for too long, or broken. */
async function* bodyOf(request: IncomingMessage, limitBytes: number, idleMs: number): AsyncIterable<Uint8Array> {
  let sizeBytes = 0;
  const idle = setTimeout(() => request.destroy(new Error(`no bytes for ${idleMs} ms`)), idleMs);
  try {
    // The stream stays open after a refusal: the sender must be able to read why.
    for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      idle.refresh();
      sizeBytes += chunk.byteLength;
      if (sizeBytes > limitBytes) throw tooLarge(limitBytes);
      yield chunk;
    }
  } catch (cause) {
    if (cause instanceof StoreError) throw cause;
    throw new StoreError('UNAVAILABLE', 'the upload broke off; try again', { cause, retryable: true });
  } finally {
    clearTimeout(idle);
  }
}

const tooLarge = (limitBytes: number): StoreError =>
  new StoreError('TOO_LARGE', `the grant is for ${limitBytes} bytes; ask for one of the true size`);

export function sendError(response: ServerResponse, status: number, code: string, message: string): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const body = JSON.stringify({ code, message });
  for (const name of ['etag', 'cache-control', 'accept-ranges']) response.removeHeader(name);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
  response.end(body);
  if (!response.req.complete) drain(response.req);
}

/**
 * Reads on for a moment after a refusal, then cuts off: closing at once would reset the connection, and the sender
 * would lose the answer with it.
 */
function drain(request: IncomingMessage): void {
  let leftBytes = 1 << 20;
  const cut = () => {
    clearTimeout(limit);
    if (!request.complete) request.destroy();
  };
  const limit = setTimeout(cut, 1_000);
  limit.unref();
  request.on('data', (chunk: Buffer) => {
    leftBytes -= chunk.byteLength;
    if (leftBytes < 0) cut();
  });
  request.once('end', cut).once('close', cut).resume();
}
