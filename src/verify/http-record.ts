/** @file The record of a run as its orchestrator serves it over HTTP: bounded, in time, parsed at the edge. */
import { z } from 'zod';
import { fetchBytes, fetchJournalText, fetchJson } from '../http/client.ts';
import { HttpError } from '../http/errors.ts';
import { signedCallSchema } from '../ledger/calls.ts';
import { publicGenesisSchema } from '../ledger/genesis.ts';
import type { ArtifactRef } from '../protocol/manifest.ts';
import { countSchema, hashSchema } from '../protocol/names.ts';
import { StoreError } from '../store/errors.ts';
import { HttpStore } from '../store/http-client.ts';
import { VerifyError } from './errors.ts';
import type { ArtifactAnswer, LedgerRecord, PublicRecord, ReleaseFile } from './record.ts';

const pageEntries = 500;
const maxAnswerBytes = 64 * 1024 * 1024;

const blocksSchema = z.array(z.strictObject({ number: countSchema, hash: hashSchema, salt: hashSchema })).max(1_000);
const callsSchema = z.strictObject({
  calls: z.array(z.strictObject({ block: countSchema, parent: hashSchema, signed: signedCallSchema })).max(1_000),
  next: countSchema,
});
const releasesSchema = z
  .array(
    z.strictObject({
      release: countSchema,
      files: z.array(z.strictObject({ name: z.string().max(256), sizeBytes: countSchema })).max(10_000),
    }),
  )
  .max(10_000);

export class HttpRecord implements PublicRecord {
  readonly name: string;
  readonly #store: HttpStore;
  readonly #signal: AbortSignal | undefined;

  constructor(url: string, signal?: AbortSignal) {
    this.name = url;
    this.#store = new HttpStore(url);
    this.#signal = signal;
  }

  async *journal(from: number): AsyncGenerator<readonly string[]> {
    for (let next = from; ; ) {
      const page = await reached(fetchJournalText(this.name, { from: next, limit: pageEntries, ...this.#options }));
      if (page.length === 0) return;
      next += page.length;
      yield page;
    }
  }

  async tornBytes(): Promise<number> {
    return 0;
  }

  async artifact(artifact: ArtifactRef): Promise<ArtifactAnswer> {
    try {
      return { kind: 'found', bytes: await this.#store.get(artifact, this.#options) };
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      if (error.code === 'NOT_FOUND') return { kind: 'missing' };
      if (error.code === 'HASH_MISMATCH' || error.code === 'SIZE_MISMATCH')
        return { kind: 'damaged', found: error.message };
      throw new VerifyError('UNREACHABLE', error.message, { cause: error, retryable: error.retryable });
    }
  }

  async part(artifact: ArtifactRef, range: { readonly from: number; readonly to: number }): Promise<Uint8Array> {
    try {
      return await this.#store.parts.read(artifact, range, this.#options);
    } catch (error) {
      if (!(error instanceof StoreError) || !['UNAVAILABLE', 'BUSY'].includes(error.code)) throw error;
      throw new VerifyError('UNREACHABLE', error.message, { cause: error, retryable: error.retryable });
    }
  }

  async ledger(): Promise<LedgerRecord | null> {
    const genesis = await this.#ifThere(this.#json('/ledger/genesis', publicGenesisSchema));
    if (genesis === null) return null;
    return {
      genesis,
      blocks: (from, limit) => this.#json(`/ledger/blocks?from=${from}&limit=${limit}`, blocksSchema),
      calls: (cursor, limit) => this.#json(`/ledger/calls?from=${cursor}&limit=${limit}`, callsSchema),
    };
  }

  async releases(): Promise<readonly number[]> {
    return (await this.#releases()).map(({ release }) => release);
  }

  async releaseFiles(release: number): Promise<readonly ReleaseFile[] | null> {
    return (await this.#releases()).find((each) => each.release === release)?.files ?? null;
  }

  releaseBytes(release: number, name: string): AsyncIterable<Uint8Array> {
    return fetchBytes(this.name, `/releases/${release}/${encodeURIComponent(name)}`, this.#options);
  }

  async close(): Promise<void> {}

  get #options(): { readonly signal?: AbortSignal } {
    return this.#signal === undefined ? {} : { signal: this.#signal };
  }

  async #releases(): Promise<z.infer<typeof releasesSchema>> {
    return (await this.#ifThere(this.#json('/releases/', releasesSchema))) ?? [];
  }

  #json<T>(path: string, schema: z.ZodType<T>): Promise<T> {
    return reached(fetchJson(this.name, path, schema, { limitBytes: maxAnswerBytes, ...this.#options }));
  }

  async #ifThere<T>(answer: Promise<T>): Promise<T | null> {
    return answer.catch((error) => {
      if (error instanceof VerifyError && (error.cause as HttpError | undefined)?.context.status === 404) return null;
      throw error;
    });
  }
}

async function reached<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (cause) {
    if (!(cause instanceof HttpError)) throw cause;
    const code = cause.code === 'MALFORMED' || cause.code === 'TOO_LARGE' ? 'UNREADABLE' : 'UNREACHABLE';
    throw new VerifyError(code, cause.message, { cause, retryable: cause.retryable });
  }
}
