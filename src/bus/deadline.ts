/** @file A wait that ends: by its result, its time limit, or its caller. */
import { BusError } from './errors.ts';

export interface DeadlineOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Names the wait in the error. */
  readonly what: string;
}

/** The longest that `setTimeout` can wait; it fires at once for more. */
const maxTimerMs = 2 ** 31 - 1;

/**
 * Runs `work` with a signal that is aborted when the time is up or the caller gives up.
 * Rejects with BusError `TIMEOUT` (retryable) or the caller's reason; what `work` does later is dropped.
 */
export function withDeadline<T>(options: DeadlineOptions, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { timeoutMs, signal, what } = options;
  return new Promise<T>((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const controller = new AbortController();
    const settle = (finish: () => void) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      finish();
    };
    const onAbort = () => {
      controller.abort(signal?.reason);
      settle(() => reject(signal?.reason));
    };
    const timer = setTimeout(
      () => {
        const error = new BusError('TIMEOUT', `${what}: no answer within ${timeoutMs} ms; try again`, {
          retryable: true,
        });
        controller.abort(error);
        settle(() => reject(error));
      },
      Math.min(Math.max(0, timeoutMs), maxTimerMs),
    );
    signal?.addEventListener('abort', onAbort, { once: true });
    work(controller.signal).then(
      (value) => settle(() => resolve(value)),
      (error) => settle(() => reject(error)),
    );
  });
}
