/** @file A claim's way out: commit, then the bytes under grants, then reveal; failures of the network are retried. */
import type { ArtifactRef } from '../../protocol/manifest.ts';
import type { EventBody } from '../../protocol/messages.ts';
import type { Hash } from '../../protocol/names.ts';
import type { Clock, Log } from '../../util/clock.ts';
import type { RunClient, SubmitResult } from '../client.ts';

export interface Upload {
  readonly artifact: ArtifactRef;
  readonly bytes: Uint8Array;
  readonly purpose: 'claim' | 'trace';
}

const firstRetryMs = 200;
const longestRetryMs = 3_000;
/** The same upload is tried this often; then the claim is left to be voided. */
const maxAttempts = 12;

export class ClaimUploader {
  readonly #client: RunClient;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #running = new Map<Hash, AbortController>();

  constructor(parts: { readonly client: RunClient; readonly log: Log; readonly clock: Clock }) {
    this.#client = parts.client;
    this.#log = parts.log;
    this.#clock = parts.clock;
  }

  /** The claim's id once it is journaled; null if the syncer refused it (which is logged with its code). */
  async commit(body: EventBody<'claim-commit'>): Promise<Hash | null> {
    const result = await this.#client.submit('claim-commit', body);
    if (isTaken(result)) return result.id;
    const { outerStep, fragment } = body;
    this.#log.warn('claim not taken', { outerStep, fragment, code: result.code, sentence: result.sentence });
    return null;
  }

  /** True once the journal has the reveal; false if it was abandoned or refused. */
  async reveal(claim: Hash, uploads: readonly Upload[]): Promise<boolean> {
    const stop = new AbortController();
    this.#running.set(claim, stop);
    const signal = AbortSignal.any([stop.signal, this.#client.signal]);
    try {
      await Promise.all(uploads.map((upload) => this.#put(upload, signal)));
      if (signal.aborted) return false;
      const result = await this.#client.submit('claim-reveal', { claim });
      if (!isTaken(result)) this.#log.warn('reveal not taken', { claim, code: result.code, sentence: result.sentence });
      return isTaken(result);
    } catch (error) {
      if (!signal.aborted) this.#log.warn('claim not uploaded', { claim, error: String(error) });
      return false;
    } finally {
      this.#running.delete(claim);
    }
  }

  /** Stops an upload that is worth nothing any more. */
  abandon(claim: Hash): void {
    this.#running.get(claim)?.abort(new Error('the claim is void'));
  }

  async #put({ artifact, bytes, purpose }: Upload, signal: AbortSignal): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        const grant = await this.#client.requestGrant(artifact, purpose);
        return await this.#client.store.put(artifact, bytes, { grant, signal });
      } catch (error) {
        const isRetryable = (error as { retryable?: boolean }).retryable === true;
        if (!isRetryable || signal.aborted || attempt >= maxAttempts) throw error;
        this.#log.debug('upload is retried', { purpose, attempt, error: String(error) });
        await this.#clock.sleep(Math.min(firstRetryMs * 2 ** attempt, longestRetryMs), signal);
      }
    }
  }
}

/** A redelivered message that the journal has already is as good as a new one. */
const isTaken = ({ outcome, seq }: SubmitResult): boolean =>
  outcome === 'accept' || (outcome === 'ignore' && seq !== null);
