/**
 * @file Group admission: what waits for the journal is admitted in the order in which it came, each against the state that the one
 * before it left, and is written together, with one flush for all. Nobody is told anything, taken or refused, before everything
 * that was admitted up to him is durable. It knows neither messages nor rules, and decides nothing.
 *
 * A group that cannot be written fails as a whole. What it admitted stays admitted, as the fold has it, and is written before anything
 * else is admitted: whoever was told of the failure may find later that his message was taken, as after an answer that was lost.
 */
import type { Journal } from '../../journal/port.ts';
import type { JournalEntry } from '../../protocol/messages.ts';
import type { Clock } from '../../util/clock.ts';

export interface GroupAdmissionOptions {
  readonly journal: Pick<Journal, 'appendAll'>;
  /** Awaited with the entries of a group once they are durable, before anybody is answered; it must not throw. */
  readonly onDurable: (entries: readonly JournalEntry[]) => Promise<void>;
  /** Told each time a group could not be written. */
  readonly onFailure: (error: unknown) => void;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

interface Waiting {
  run(): void;
  answer(): void;
  reject(error: unknown): void;
}

/** Admitting takes half a millisecond each: heartbeats and reads wait meanwhile. */
const groupTasks = 32;
const groupBytes = 4 * 1024 * 1024;
const retryMs = 1_000;

export class GroupAdmission {
  readonly #options: GroupAdmissionOptions;
  readonly #waiting: Waiting[] = [];
  /** Goes before what waits. */
  readonly #urgent: Waiting[] = [];
  #admitted: JournalEntry[] = [];
  #admittedBytes = 0;
  #held: (() => void)[] = [];
  #draining: Promise<void> | null = null;
  #isFailing = false;
  #isRetrying = false;

  constructor(options: GroupAdmissionOptions) {
    this.#options = options;
  }

  /** Entries that are admitted and not durable yet. */
  get pending(): number {
    return this.#admitted.length;
  }

  /**
   * Runs `task` in its turn; it admits what it has to, without waiting. Resolves with what it gave, or rejects with what it threw, once
   * everything that was admitted before its end is durable. Rejects with the journal's error where that failed, whether it ran or not.
   * What is urgent has its turn before all that is not: few and quick tasks that somebody stands still for.
   */
  enqueue<T>(task: () => T, { isUrgent = false } = {}): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      let answer: () => void = () => {};
      const run = (): void => {
        try {
          const result = task();
          answer = () => resolve(result);
        } catch (error) {
          answer = () => reject(error);
        }
      };
      (isUrgent ? this.#urgent : this.#waiting).push({ run, answer: () => answer(), reject });
      this.#wake();
    });
  }

  /** Called by a task: the entry was folded and follows the one before it. */
  admit(entry: JournalEntry, sizeBytes: number): void {
    this.#admitted.push(entry);
    this.#admittedBytes += sizeBytes;
  }

  /** Does what others will see of the state: now, or once all of it is durable. */
  whenDurable(action: () => void): void {
    if (this.#admitted.length === 0) action();
    else this.#held.push(action);
  }

  /** Resolves when nothing is under way; what the journal did not take is given up. */
  async idle(): Promise<void> {
    while (this.#draining !== null) await this.#draining;
  }

  #wake(): void {
    this.#draining ??= this.#drain().finally(() => {
      this.#draining = null;
      if (this.#hasWaiting) this.#wake();
    });
  }

  get #hasWaiting(): boolean {
    return this.#waiting.length + this.#urgent.length > 0;
  }

  async #drain(): Promise<void> {
    await Promise.resolve(); // what comes in the same turn goes together
    if (this.#isFailing && !(await this.#write())) return;
    while (this.#hasWaiting) {
      const group = this.#runGroup();
      if (!(await this.#write(group))) return;
    }
  }

  #runGroup(): Waiting[] {
    const group: Waiting[] = [];
    while (this.#hasWaiting && group.length < groupTasks && this.#admittedBytes < groupBytes) {
      const next = (this.#urgent.shift() ?? this.#waiting.shift())!;
      next.run();
      group.push(next);
    }
    return group;
  }

  /** False if the journal did not take what was admitted: who waits is told so. */
  async #write(group: readonly Waiting[] = []): Promise<boolean> {
    const entries = this.#admitted;
    try {
      if (entries.length > 0) await this.#options.journal.appendAll(entries);
    } catch (error) {
      this.#isFailing = true;
      this.#options.onFailure(error);
      // Those too that came meanwhile: what they ask cannot be said before the journal can be written.
      for (const { reject } of [...group, ...this.#urgent.splice(0), ...this.#waiting.splice(0)]) reject(error);
      this.#retryLater();
      return false;
    }
    this.#isFailing = false;
    this.#admitted = [];
    this.#admittedBytes = 0;
    if (entries.length > 0) await this.#options.onDurable(entries);
    for (const action of this.#held.splice(0)) action();
    for (const { answer } of group) answer();
    return true;
  }

  /** Somebody may wait for what was admitted although nobody asks. */
  #retryLater(): void {
    if (this.#isRetrying) return;
    this.#isRetrying = true;
    const { clock, signal } = this.#options;
    clock.sleep(retryMs, signal).then(
      () => {
        this.#isRetrying = false;
        if (this.#isFailing) this.#wake();
      },
      () => {}, // an abort ends it
    );
  }
}
