/**
 * @file The store of an orchestrator, over HTTP. Reads are checked against the root and go on where they broke off;
 * writes need a grant. Both are tried again, with jitter, when the fault may pass: an artifact is the same however often
 * it is written.
 */
import { type ClientRequest, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { ArtifactRef } from '../protocol/manifest.ts';
import type { Hash } from '../protocol/names.ts';
import { notFound, StoreError, sizeMismatch, storeErrorCodes } from './errors.ts';
import { checkArtifact } from './node-hash.ts';
import type { Store, StoreParts, WriteGrant } from './port.ts';

export interface HttpStoreOptions {
  /** How often one operation is tried without any progress. */
  readonly attempts?: number;
  readonly minBackoffMs?: number;
  /** An exchange that moves no byte for so long is given up. */
  readonly idleMs?: number;
  /** Refused before memory is taken for it. */
  readonly maxArtifactBytes?: number;
  /** In [0, 1): spreads the attempts of many clients. */
  readonly random?: () => number;
}

interface Exchange {
  readonly method: 'GET' | 'HEAD' | 'PUT';
  readonly root: Hash;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly signal?: AbortSignal | undefined;
}

const errorSchema = z.object({ code: z.string().max(64), message: z.string().max(2_000) });
const maxErrorBytes = 16_384;

export class HttpStore implements Store {
  readonly #baseUrl: string;
  readonly #options: HttpStoreOptions;
  readonly #idleMs: number;
  readonly #agent: HttpAgent;

  /** `url`: of the orchestrator, e.g. `http://127.0.0.1:7600`. */
  constructor(url: string, options: HttpStoreOptions = {}) {
    this.#baseUrl = url.replace(/\/+$/, '');
    this.#options = options;
    this.#idleMs = options.idleMs ?? 30_000;
    const pool = { keepAlive: true, maxSockets: 8 };
    this.#agent = this.#baseUrl.startsWith('https:') ? new HttpsAgent(pool) : new HttpAgent(pool);
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

  /** Tries until it works, the fault is one that stays, or `attempts` in a row brought nothing new. */
  async #retrying(signal: AbortSignal | undefined, work: () => Promise<void>, progress = () => 0): Promise<void> {
    const { attempts = 4, minBackoffMs = 200, random = Math.random } = this.#options;
    let failures = 0;
    for (;;) {
      const before = progress();
      try {
        return await work();
      } catch (cause) {
        signal?.throwIfAborted();
        const error =
          cause instanceof StoreError
            ? cause
            : new StoreError('UNAVAILABLE', `${this.#baseUrl}: the store cannot be reached (${reasonOf(cause)})`, {
                cause,
                retryable: true,
              });
        failures = progress() > before ? 1 : failures + 1;
        if (!error.retryable || failures >= attempts) throw error;
        const backoffMs = Math.min(5_000, minBackoffMs * 2 ** (failures - 1));
        await sleep(backoffMs * (0.5 + 0.5 * random()), undefined, signal === undefined ? {} : { signal }).catch(() => {
          signal?.throwIfAborted();
        });
      }
    }
  }

  /** Resolves with the response's head, which may come before the body is sent. */
  #exchange({ method, root, headers = {}, body, signal }: Exchange): Promise<IncomingMessage> {
    const send = this.#baseUrl.startsWith('https:') ? httpsRequest : httpRequest;
    return new Promise((resolve, reject) => {
      const request = send(`${this.#baseUrl}/store/${root}`, {
        method,
        headers,
        agent: this.#agent,
        timeout: this.#idleMs,
        ...(signal === undefined ? {} : { signal }),
      });
      request.on('timeout', () => request.destroy(new Error(`no bytes for ${this.#idleMs} ms`)));
      request.on('error', reject);
      request.on('response', (response) => {
        // Read by whoever gets the response; without a listener a late error would end the process.
        response.on('error', () => undefined);
        resolve(response);
      });
      if (body === undefined) request.end();
      else sendWhenWanted(request, body);
    });
  }
}

/** Sends the body once the store asks for it, or when it has said nothing for a second; never after its answer. */
function sendWhenWanted(request: ClientRequest, body: Uint8Array): void {
  const silence = setTimeout(send, 1_000);
  function send(): void {
    clearTimeout(silence);
    request.off('continue', send);
    request.end(body);
  }
  request.on('continue', send);
  request.once('close', () => clearTimeout(silence));
  request.once('response', (response: IncomingMessage) => {
    clearTimeout(silence);
    request.off('continue', send);
    if (!request.writableEnded) response.once('close', () => request.destroy());
  });
}

/** What has been read so far of an artifact. */
interface Partial {
  bytes: Uint8Array | null;
  filled: number;
}

const isOk = ({ statusCode = 0 }: IncomingMessage): boolean => statusCode >= 200 && statusCode < 300;

function unavailable(root: string, why: string): StoreError {
  return new StoreError('UNAVAILABLE', `${root}: ${why}; try again`, { retryable: true });
}

/** The store's own code and sentence; what cannot be read of them is a fault of the way there. */
async function errorOf(response: IncomingMessage, root: Hash): Promise<StoreError> {
  const status = response.statusCode ?? 0;
  const parsed = errorSchema.safeParse(await readError(response));
  const mayPass = status === 408 || status === 409 || status === 429 || (status >= 500 && status !== 507);
  const code = storeErrorCodes.find((known) => parsed.success && known === parsed.data.code);
  if (code !== undefined)
    return new StoreError(code, parsed.data!.message, { retryable: mayPass, context: { status } });
  if (status === 404) return notFound(root);
  return new StoreError('UNAVAILABLE', `${root}: the store answered with status ${status}`, {
    retryable: mayPass,
    context: { status },
  });
}

async function readError(response: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      sizeBytes += chunk.byteLength;
      if (sizeBytes > maxErrorBytes) break;
      chunks.push(chunk);
    }
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    return null; // The status alone must do.
  }
}

function reasonOf(cause: unknown): string {
  const { code, message } = cause as NodeJS.ErrnoException;
  return code ?? (message || 'unknown');
}
