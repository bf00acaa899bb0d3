/**
 * @file A clock that jumps from one waking to the next once nothing is under way, so that a run of an hour takes as long as
 * its computing. One seed gives one order of events: sleepers of one instant wake in the order in which they fell asleep.
 * Simulations run on it, and tests of single roles.
 */
import { engineActivity } from '../engine/session.ts';
import type { Clock } from '../util/clock.ts';

interface Sleeper {
  readonly atMs: number;
  readonly order: number;
  readonly wake: () => void;
}

/** Turns of the event loop without any computing after which only a waking can change anything. */
const quietTurns = 4;

const turn = (): Promise<void> => new Promise((resume) => setImmediate(resume));

export class VirtualClock implements Clock {
  #nowMs: number;
  #order = 0;
  readonly #sleepers = new Set<Sleeper>();

  constructor(startMs: number) {
    this.#nowMs = startMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const onAbort = (): void => {
        this.#sleepers.delete(sleeper);
        reject(signal?.reason);
      };
      const wake = (): void => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      };
      const sleeper = { atMs: this.#nowMs + Math.max(0, ms), order: this.#order++, wake };
      this.#sleepers.add(sleeper);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Until `untilMs`, or until `isOver` says so between two wakings. */
  async run(untilMs: number, isOver: () => boolean = () => false): Promise<void> {
    await this.quiesce();
    while (!isOver()) {
      const next = this.#first();
      if (next === null || next.atMs > untilMs) break;
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      this.#sleepers.delete(next);
      next.wake();
      await this.quiesce();
    }
    if (!isOver()) this.#nowMs = Math.max(this.#nowMs, untilMs);
  }

  async advance(ms: number): Promise<void> {
    await this.run(this.#nowMs + ms);
  }

  /** Lets everything run that does not wait for time. */
  async quiesce(): Promise<void> {
    for (let quiet = 0; quiet < quietTurns; quiet++) {
      await turn();
      if (engineActivity.pending > 0) quiet = -1;
    }
  }

  #first(): Sleeper | null {
    let first: Sleeper | null = null;
    for (const sleeper of this.#sleepers)
      if (first === null || sleeper.atMs < first.atMs || (sleeper.atMs === first.atMs && sleeper.order < first.order))
        first = sleeper;
    return first;
  }
}
