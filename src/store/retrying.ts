/** @file Tries again what may pass: back-off that doubles, with jitter and a limit; progress starts the count anew. */
import { setTimeout as sleep } from 'node:timers/promises';
import { StoreError } from './errors.ts';

export interface RetryOptions {
  /** How often one operation is tried without any progress. */
  readonly attempts?: number;
  readonly minBackoffMs?: number;
  /** In [0, 1): spreads the attempts of many clients. */
  readonly random?: () => number;
}

const maxBackoffMs = 5_000;

export interface Retried<T> {
  /** Its errors are `StoreError`s (`asStoreError` makes them so); `retryable` decides. */
  work(): Promise<T>;
  asStoreError(cause: unknown): StoreError;
  /** Grows with what an attempt brought. */
  progress?(): number;
  readonly signal?: AbortSignal | undefined;
}

/** Until it works, the fault is one that stays, or `attempts` in a row brought nothing new. */
export async function retrying<T>(
  { attempts = 4, minBackoffMs = 200, random = Math.random }: RetryOptions,
  { work, asStoreError, progress = () => 0, signal }: Retried<T>,
): Promise<T> {
  let failures = 0;
  for (;;) {
    signal?.throwIfAborted();
    const before = progress();
    try {
      return await work();
    } catch (cause) {
      signal?.throwIfAborted();
      const error = cause instanceof StoreError ? cause : asStoreError(cause);
      failures = progress() > before ? 1 : failures + 1;
      if (!error.retryable || failures >= attempts) throw error;
      const backoffMs = Math.min(maxBackoffMs, minBackoffMs * 2 ** (failures - 1));
      await sleep(backoffMs * (0.5 + 0.5 * random()), undefined, signal === undefined ? {} : { signal }).catch(() => {
        signal?.throwIfAborted();
      });
    }
  }
}
