/** @file A claim's way out: commit, then the bytes under grants, then reveal; failures of the network are retried. */
import type { ArtifactRef } from '../../protocol/manifest.ts';
import type { EventBody } from '../../protocol/messages.ts';
import type { Hash } from '../../protocol/names.ts';
import type { Clock, Log } from '../../util/clock.ts';
import type { RunClient, SubmitResult } from '../client.ts';
import { RoleError } from '../errors.ts';

export interface Upload {
  readonly artifact: ArtifactRef;
  readonly bytes: Uint8Array;
  readonly purpose: 'claim' | 'trace';
}

const firstRetryMs = 200;
const longestRetryMs = 3_000;
/** The own fold lags behind the journal by less than this. */
const foldWaitMs = 2_000;
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

  /**
   * The claim's id once it is journaled; null if the syncer refused it (which is logged with its code).
   * @throws RoleError REFUSED if the journal holds another trace of this learner than its own
   */
  async commit(body: EventBody<'claim-commit'>): Promise<Hash | null> {
    const result = await this.#client.submit('claim-commit', body);
    if (result.outcome === 'accept' || (await this.#isJournaled(result))) return result.id;
    const { code, sentence } = result;
    if (code === 'WRONG_TRACE')
      throw new RoleError(
        'REFUSED',
        `the journal holds another trace of this learner (does a second process run under its name?): ${sentence}`,
      );
    this.#log.warn('claim not taken', { outerStep: body.outerStep, fragment: body.fragment, code, sentence });
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
      const { outcome, code, sentence } = await this.#client.submit('claim-reveal', { claim });
      const isTaken = outcome === 'accept' || code === 'DUPLICATE';
      if (!isTaken) this.#log.warn('reveal not taken', { claim, code, sentence });
      return isTaken;
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

  /** A commit whose first answer was lost is refused the second time, although the journal has it. */
  async #isJournaled({ id, code }: SubmitResult): Promise<boolean> {
    if (code !== 'DUPLICATE' && code !== 'WRONG_TRACE') return false;
    for (let waitedMs = 0; waitedMs < foldWaitMs; waitedMs += firstRetryMs) {
      if (this.#client.state.claims.has(id)) return true;
      await this.#clock.sleep(firstRetryMs, this.#client.signal);
    }
    return this.#client.state.claims.has(id);
  }

  async #put({ artifact, bytes, purpose }: Upload, signal: AbortSignal): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        const grant = await this.#client.requestGrant(artifact, purpose, bytes);
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
