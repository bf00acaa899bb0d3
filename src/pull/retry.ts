/** @file Tries again what a network failed at, with growing pauses; gives up when nothing new came several times in a row. */
import { PullError } from './errors.ts';

export interface RetryOptions {
  readonly sleep: (ms: number) => Promise<void>;
  readonly attempts?: number;
  /** 0 to 1. */
  readonly random: () => number;
}

const maxPauseMs = 10_000;

/** `progress` grows with what `work` achieved before it failed. */
export async function withRetries<T>(
  work: () => Promise<T>,
  { sleep, attempts = 5, random }: RetryOptions,
  progress: () => number = () => 0,
): Promise<T> {
  for (let failures = 0; ; ) {
    const before = progress();
    try {
      return await work();
    } catch (error) {
      failures = progress() > before ? 1 : failures + 1;
      if (!(error instanceof PullError && error.retryable) || failures >= attempts) throw error;
      const asked = error.context.retryAfterMs as number | null | undefined;
      await sleep(Math.min(maxPauseMs, asked ?? 200 * 2 ** failures * (0.5 + random())));
    }
  }
}
