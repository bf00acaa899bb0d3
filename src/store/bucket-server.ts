/**
 * @file A bucket's store over HTTP, under the same paths as a folder's: `HEAD /store/<root>` answers, `GET` sends on to the bucket, so that
 * its bytes do not pass through here. A page in a browser may read from its own origin only: its bytes are relayed.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import type { Hash } from '../protocol/names.ts';
import { parseRange } from '../util/byte-range.ts';
import { type Log, type Metrics, silentLog, silentMetrics } from '../util/clock.ts';
import { notFound, StoreError } from './errors.ts';
import { type HttpHandler, rootOf, sendError, sendFailure } from './http-server.ts';

export interface ServeBucketOptions {
  stat(root: Hash): Promise<number | null>;
  /** Where to read it without credentials, for a while. */
  locate(root: Hash): Promise<string>;
  read(root: Hash, range: { readonly from: number; readonly to: number }): AsyncIterable<Uint8Array>;
  readonly log?: Log;
  readonly metrics?: Metrics;
  /** Relayed at once; further ones are asked to try again. */
  readonly maxRelays?: number;
}

/** Handles every request below `/store/`. Never rejects. */
export function serveBucket(options: ServeBucketOptions): HttpHandler {
  const { log = silentLog, metrics = silentMetrics, maxRelays = 16 } = options;
  let relays = 0;
  return async (request, response) => {
    request.on('error', () => undefined);
    response.on('error', () => undefined);
    try {
      const root = rootOf(request.url ?? '');
      if (request.method === 'PUT')
        throw new StoreError('FORBIDDEN', 'this store lies in a bucket: upload with the requests that a grant holds');
      if (request.method !== 'GET' && request.method !== 'HEAD')
        return sendError(response, 405, 'FORBIDDEN', `expected GET or HEAD, got ${request.method}`);
      const sizeBytes = await options.stat(root);
      if (sizeBytes === null) throw notFound(root);
      response.setHeader('etag', `"${root}"`);
      response.setHeader('accept-ranges', 'bytes');
      if (request.method === 'HEAD') {
        response.writeHead(200, { 'content-length': sizeBytes }).end();
        return;
      }
      if (request.headers['sec-fetch-mode'] === undefined) {
        const location = await options.locate(root);
        // The place is good for a while only; the bytes behind it for ever.
        response.writeHead(307, { location, 'cache-control': 'no-store', 'content-length': 0 }).end();
        return;
      }
      if (relays >= maxRelays) throw new StoreError('BUSY', 'too many reads at once; try again', { retryable: true });
      relays++;
      await relay(options, { root, sizeBytes, request, response }).finally(() => relays--);
    } catch (error) {
      sendFailure(response, error, { log, metrics });
    }
  };
}

interface Relay {
  readonly root: Hash;
  readonly sizeBytes: number;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

async function relay({ read }: ServeBucketOptions, { root, sizeBytes, request, response }: Relay): Promise<void> {
  response.setHeader('cache-control', 'public, max-age=31536000, immutable');
  response.setHeader('content-type', 'application/octet-stream');
  const range = parseRange(request.headers.range, sizeBytes);
  if (range === 'unsatisfiable') {
    response.setHeader('content-range', `bytes */${sizeBytes}`);
    return sendError(response, 416, 'SIZE_MISMATCH', `expected a range within ${sizeBytes} bytes`);
  }
  const { from, to } = range ?? { from: 0, to: sizeBytes };
  if (range !== null) response.setHeader('content-range', `bytes ${from}-${to - 1}/${sizeBytes}`);
  response.writeHead(range === null ? 200 : 206, { 'content-length': to - from });
  try {
    await pipeline(read(root, { from, to }), response);
  } catch {
    response.destroy(); // The length is promised already: cutting off is the only way to say it.
  }
}
