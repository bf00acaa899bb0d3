/** @file The syncers of a run as a participant knows them: several URLs, of which one answers; who follows does not listen. */
import { fetchJson } from '../../http/client.ts';
import { type Log, silentLog } from '../../util/clock.ts';
import { type BusPlace, busAccessPath, busPlaceSchema } from './access.ts';

const timeoutMs = 10_000;
/** One that is frozen is given up soon where another may have taken over. */
const timeoutMsOfSeveral = 2_000;

export class SyncerUrls {
  readonly all: readonly string[];
  readonly #log: Log;
  #current: string;
  #looking: Promise<void> | null = null;

  /** `all`: at least one. */
  constructor(all: readonly string[], log: Log = silentLog) {
    this.all = all;
    this.#current = all[0]!;
    this.#log = log;
  }

  /** Who answered last. */
  get current(): string {
    return this.#current;
  }

  get timeoutMs(): number {
    return this.all.length > 1 ? timeoutMsOfSeveral : timeoutMs;
  }

  answered(url: string): void {
    if (url !== this.#current) this.#log.info('another syncer answers', { url });
    this.#current = url;
  }

  /** Who answered last is asked first, then the others. @throws what cannot pass; the last failure if none answers */
  async ask<T>(work: (url: string) => Promise<T>): Promise<T> {
    let failure: unknown;
    for (const url of [this.#current, ...this.all.filter((other) => other !== this.#current)]) {
      try {
        const answer = await work(url);
        this.answered(url);
        return answer;
      } catch (error) {
        if ((error as { retryable?: boolean }).retryable !== true) throw error;
        failure = error;
      }
    }
    throw failure;
  }

  fetchPlace(): Promise<BusPlace> {
    const options = { timeoutMs: this.timeoutMs, limitBytes: 65_536 };
    return this.ask((url) => fetchJson(url, busAccessPath, busPlaceSchema, options));
  }

  /** Whoever answered last may be gone. One look at a time. */
  lookAgain(): void {
    if (this.all.length === 1) return;
    this.#looking ??= this.fetchPlace()
      .then(
        () => {},
        (error) => this.#log.debug('no syncer answers', { error: String(error) }),
      )
      .finally(() => {
        this.#looking = null;
      });
  }
}
