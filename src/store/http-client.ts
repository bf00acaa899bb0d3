/**
 * @file The store of an orchestrator, or a public bucket, over HTTP. Reads are checked against the root and go on where they broke off;
 * writes need a grant: the orchestrator's own, or requests presigned for a bucket. Both are tried again, with jitter, when the fault may pass: an artifact is the same however often
 * it is written.
 */
import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import type { ArtifactRef } from '../protocol/manifest.ts';
import type { Hash } from '../protocol/names.ts';
import { inLanes } from '../util/lanes.ts';
import { notFound, StoreError, sizeMismatch, storeErrorCodes } from './errors.ts';
import { type Exchange, HttpExchanger, isOk } from './http-exchange.ts';
import { checkArtifact } from './node-hash.ts';
import type { Store, StoreParts, WriteGrant } from './port.ts';
import { isPresigned, parsePresigned, timeFaultOf } from './presigned.ts';
import { type RetryOptions, retrying } from './retrying.ts';
import { s3CodeOf, s3Failure } from './s3-errors.ts';

export interface HttpStoreOptions extends RetryOptions {
  /** An exchange that moves no byte for so long is given up. */
  readonly idleMs?: number;
  /** Refused before memory is taken for it. */
  readonly maxArtifactBytes?: number;
  /** Called when an exchange with the store itself failed: another one may serve by now. */
  readonly onUnreachable?: () => void;
}

const errorSchema = z.object({ code: z.string().max(64), message: z.string().max(2_000) });
const maxErrorBytes = 16_384;

export class HttpStore implements Store {
  readonly #url: () => string;
  readonly #options: HttpStoreOptions;
  readonly #exchanger: HttpExchanger;

  /** `url`: of the orchestrator, e.g. `http://127.0.0.1:7600`; a function says which of several serves now, at each attempt. */
  constructor(url: string | (() => string), options: HttpStoreOptions = {}) {
    this.#url = typeof url === 'string' ? () => url : url;
    this.#options = options;
    this.#exchanger = new HttpExchanger({ idleMs: options.idleMs ?? 30_000 });
  }

  /** Without `/` at its end. */
  get url(): string {
    return this.#url().replace(/\/+$/, '');
  }

  async put(
    expected: ArtifactRef,
    bytes: Uint8Array,
    options: { readonly grant?: WriteGrant; readonly signal?: AbortSignal } = {},
  ): Promise<void> {
    const { grant, signal } = options;
    checkArtifact(expected, bytes);
    if ((await this.#stat(expected.root, signal)) === expected.sizeBytes) return;
    if (grant === undefined) {
      throw new StoreError('FORBIDDEN', `${expected.root}: a remote store takes bytes with a grant only; ask for one`);
    }
    if (isPresigned(grant.token)) return this.#putPresigned(expected, bytes, { grant, signal });
    const headers = {
      authorization: `Bearer ${grant.token}`,
      'content-type': 'application/octet-stream',
      'content-length': String(bytes.byteLength),
      // A refusal then comes before the bytes are sent, and is not lost behind them.
      expect: '100-continue',
    };
    await this.#retrying(signal, async () => {
      const response = await this.#exchange({ method: 'PUT', root: expected.root, headers, body: bytes, signal });
      if (!isOk(response)) throw await errorOf(response, expected.root);
      response.resume();
    });
  }

  async get(artifact: ArtifactRef, options: { readonly signal?: AbortSignal } = {}): Promise<Uint8Array> {
    const { root, sizeBytes } = artifact;
    const limitBytes = this.#options.maxArtifactBytes ?? 2 * 1024 ** 3;
    if (sizeBytes > limitBytes) {
      throw new StoreError('TOO_LARGE', `${root}: expected at most ${limitBytes} bytes, its name says ${sizeBytes}`);
    }
    const partial: Partial = { bytes: null, filled: 0 };
    await this.#retrying(
      options.signal,
      () => this.#readOn(artifact, partial, options.signal),
      () => partial.filled,
    );
    const bytes = partial.bytes ?? new Uint8Array(0);
    checkArtifact(artifact, bytes);
    return bytes;
  }

  readonly parts: StoreParts = {
    read: async ({ root }, { from, to }, { signal } = {}) => {
      const bytes = new Uint8Array(to - from);
      let filled = 0;
      await this.#retrying(
        signal,
        async () => void (filled = await this.#readInto(root, from, bytes, filled, signal)),
        () => filled,
      );
      return bytes;
    },
  };

  stat(root: Hash): Promise<number | null> {
    return this.#stat(root, undefined);
  }

  async remove(root: Hash): Promise<boolean> {
    throw new StoreError('FORBIDDEN', `${root}: only the owner of a store removes from it`);
  }

  async #stat(root: Hash, signal: AbortSignal | undefined): Promise<number | null> {
    let sizeBytes: number | null = null;
    await this.#retrying(signal, async () => {
      const response = await this.#exchange({ method: 'HEAD', root, signal });
      response.resume();
      if (response.statusCode === 404) return;
      if (!isOk(response)) throw await errorOf(response, root);
      sizeBytes = Number(response.headers['content-length']);
      if (!Number.isSafeInteger(sizeBytes)) throw unavailable(root, 'the store does not say how long it is');
    });
    return sizeBytes;
  }

  /** One attempt to fill the rest of `bytes`, which begin at `from` in the artifact. Returns how far it came. */
  async #readInto(
    root: Hash,
    from: number,
    bytes: Uint8Array,
    filled: number,
    signal: AbortSignal | undefined,
  ): Promise<number> {
    if (filled === bytes.byteLength) return filled;
    const headers = { range: `bytes=${from + filled}-${from + bytes.byteLength - 1}` };
    const response = await this.#exchange({ method: 'GET', root, headers, signal });
    if (!isOk(response)) throw await errorOf(response, root);
    if (response.statusCode !== 206) {
      response.destroy();
      throw unavailable(root, `the store answered with status ${response.statusCode} where a range was asked for`);
    }
    let at = filled;
    for await (const chunk of response as AsyncIterable<Buffer>) {
      if (at + chunk.byteLength > bytes.byteLength) {
        response.destroy();
        throw unavailable(root, `the store sent more than the ${bytes.byteLength} bytes that were asked for`);
      }
      bytes.set(chunk, at);
      at += chunk.byteLength;
    }
    if (at < bytes.byteLength) throw unavailable(root, `it broke off after ${at} of ${bytes.byteLength} bytes`);
    return at;
  }

  /** One attempt to read what is missing. */
  async #readOn(artifact: ArtifactRef, partial: Partial, signal: AbortSignal | undefined): Promise<void> {
    const { root, sizeBytes } = artifact;
    const headers: Record<string, string> = partial.filled > 0 ? { range: `bytes=${partial.filled}-` } : {};
    const response = await this.#exchange({ method: 'GET', root, headers, signal });
    if (!isOk(response)) throw await errorOf(response, root);
    if (response.statusCode !== 206) partial.filled = 0;
    const expectedLength = sizeBytes - partial.filled;
    const length = Number(response.headers['content-length'] ?? expectedLength);
    if (length !== expectedLength) {
      response.destroy();
      throw sizeMismatch(root, sizeBytes, partial.filled + length);
    }
    partial.bytes ??= new Uint8Array(sizeBytes);
    for await (const chunk of response as AsyncIterable<Buffer>) {
      if (partial.filled + chunk.byteLength > sizeBytes) {
        response.destroy();
        throw sizeMismatch(root, sizeBytes, partial.filled + chunk.byteLength);
      }
      partial.bytes.set(chunk, partial.filled);
      partial.filled += chunk.byteLength;
    }
    if (partial.filled < sizeBytes)
      throw unavailable(root, `it broke off after ${partial.filled} of ${sizeBytes} bytes`);
  }

  /** One of the requests that the grant holds: a part of the bytes, or all of them. */
  async #putPresigned(expected: ArtifactRef, bytes: Uint8Array, options: GrantedPut): Promise<void> {
    const { root } = expected;
    const { requests, partBytes } = parsePresigned(options.grant.token);
    const { signal } = options;
    const put = async (i: number, until: AbortSignal): Promise<void> => {
      const { url, headers } = requests[i]!;
      const body = bytes.subarray(i * partBytes, (i + 1) * partBytes);
      await this.#retrying(until, async () => {
        const response = await this.#exchanger.exchange({
          ...{ method: 'PUT', url, body, signal: until },
          headers: { ...headers, expect: '100-continue' },
        });
        // Who has this grant has used it before: the store's look at the bytes decides.
        if (!isOk(response) && response.statusCode !== 412) {
          const name = response.statusCode === 403 ? timeFaultOf(url, response.headers.date) : '';
          throw name === '' ? await errorOf(response, root) : s3Failure(root, { name, status: 403 });
        }
        response.resume();
      });
    };
    await inLanes(requests.length, { atOnce: partsAtOnce, signal }, put);
    // The store takes an upload in when it is asked for the artifact.
    if ((await this.#stat(root, signal)) === expected.sizeBytes) return;
    throw new StoreError('HASH_MISMATCH', `${root}: the store did not take what was uploaded; ask for a new grant`, {
      retryable: true,
    });
  }

  async #retrying(signal: AbortSignal | undefined, work: () => Promise<void>, progress = () => 0): Promise<void> {
    const asStoreError = (cause: unknown) =>
      new StoreError('UNAVAILABLE', `${this.url}: the store cannot be reached (${reasonOf(cause)})`, {
        ...{ cause, retryable: true },
      });
    await retrying(this.#options, { signal, work, progress, asStoreError });
  }

  #exchange({ root, ...exchange }: Omit<Exchange, 'url'> & { readonly root: Hash }): Promise<IncomingMessage> {
    return this.#exchanger.exchange({ ...exchange, url: `${this.url}/store/${root}` }).catch((error) => {
      this.#options.onUnreachable?.();
      throw error;
    });
  }
}

/** Parts that are under way at once; they are views of the artifact's bytes, so that more of them take no more memory. */
const partsAtOnce = 4;

interface GrantedPut {
  readonly grant: WriteGrant;
  readonly signal: AbortSignal | undefined;
}

/** What has been read so far of an artifact. */
interface Partial {
  bytes: Uint8Array | null;
  filled: number;
}

function unavailable(root: string, why: string): StoreError {
  return new StoreError('UNAVAILABLE', `${root}: ${why}; try again`, { retryable: true });
}

/** The store's own code and sentence; what cannot be read of them is a fault of the way there. */
async function errorOf(response: IncomingMessage, root: Hash): Promise<StoreError> {
  const status = response.statusCode ?? 0;
  const text = await readError(response);
  const s3Code = s3CodeOf(text);
  if (s3Code !== '') return s3Failure(root, { name: s3Code, status });
  const parsed = errorSchema.safeParse(jsonOf(text));
  const mayPass = status === 408 || status === 409 || status === 429 || (status >= 500 && status !== 507);
  const code = storeErrorCodes.find((known) => parsed.success && known === parsed.data.code);
  if (code !== undefined)
    return new StoreError(code, parsed.data!.message, { retryable: mayPass, context: { status } });
  if (status === 404) return notFound(root);
  if (status === 401 || status === 403) return s3Failure(root, { name: 'AccessDenied', status });
  return new StoreError('UNAVAILABLE', `${root}: the store answered with status ${status}`, {
    retryable: mayPass,
    context: { status },
  });
}

async function readError(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      sizeBytes += chunk.byteLength;
      if (sizeBytes > maxErrorBytes) break;
      chunks.push(chunk);
    }
  } catch {
    // What came of it, and the status, must do.
  }
  return Buffer.concat(chunks).toString('utf8');
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function reasonOf(cause: unknown): string {
  const { code, message } = cause as NodeJS.ErrnoException;
  return code ?? (message || 'unknown');
}
