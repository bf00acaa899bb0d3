/**
 * @file Keeps the bus's copy of the journal up to date: what the copy lacks is appended from the journal, in order and once, however often
 * either end was away. The journal is never changed to fit the copy.
 */
import type { Replica } from '../../bus/port.ts';
import type { Journal } from '../../journal/port.ts';
import type { JournalEntry } from '../../protocol/messages.ts';
import { canonicalJson } from '../../util/canonical-json.ts';
import type { Clock, Log, Metrics } from '../../util/clock.ts';
import { topics } from '../client.ts';
import { RoleError } from '../errors.ts';

export interface ReplicatorDeps {
  readonly journal: Journal;
  readonly replica: Replica;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly signal: AbortSignal;
}

const pageEntries = 256;
const retryMs = 500;

export class JournalReplicator {
  readonly #deps: ReplicatorDeps;
  /** Entries that the copy is known to hold. */
  #size = 0;
  /** Newest entries, so that they need not be read; in order, with none left out. */
  #told: readonly JournalEntry[] = [];
  #working: Promise<void> | null = null;
  #isStarted = false;
  #isClosing = false;

  constructor(deps: ReplicatorDeps) {
    this.#deps = deps;
  }

  /** Compares, and fills what is missing. @throws RoleError JOURNAL_BEHIND if the copy is of another history, or holds more; BusError */
  async start(): Promise<void> {
    const { replica, journal } = this.#deps;
    this.#size = await replica.size(topics.journal);
    if (this.#size > 0) {
      const [kept] = await replica.read(topics.journal, this.#size - 1, 1);
      const [own] = await journal.read(this.#size - 1, 1);
      if (own === undefined || kept !== canonicalJson(own)) {
        const where = own === undefined ? `the journal holds ${journal.head.size}` : 'its last one is another';
        throw new RoleError(
          'JOURNAL_BEHIND',
          `the bus holds ${this.#size} entries of this run, and ${where}: was the journal restored from an old copy? Fetch the rest from the bus or a mirror first`,
        );
      }
    }
    while (await this.#appendPage());
    this.#isStarted = true;
    this.wake();
  }

  /** There is something new: these, which are durable, or more. Before the start nothing is known of the copy: `start` brings that too. */
  wake(entries: readonly JournalEntry[] = []): void {
    if (!this.#isStarted) return;
    this.#told = this.#told.length + entries.length <= pageEntries ? [...this.#told, ...entries] : [];
    this.#working ??= this.#work().finally(() => {
      this.#working = null;
      if (this.#told.length > 0) this.wake(); // told between the last look and now
    });
  }

  /** Waits for what is under way. */
  async close(): Promise<void> {
    this.wake();
    this.#isClosing = true;
    await this.#working;
  }

  async #work(): Promise<void> {
    const { clock, log, metrics, signal } = this.#deps;
    for (;;) {
      try {
        while (await this.#appendPage());
        return;
      } catch (error) {
        metrics.count('journal_replication_errors_total');
        const isRetryable = (error as { retryable?: boolean }).retryable === true;
        if (isRetryable) log.debug('the journal is not replicated yet', { from: this.#size, error: String(error) });
        else log.error('the journal is not replicated', { from: this.#size, error: String(error) });
        if (this.#isClosing || signal.aborted) return;
        await clock.sleep(retryMs);
        await this.#measure();
      }
    }
  }

  /** An append may have been done although it failed. */
  async #measure(): Promise<void> {
    try {
      this.#size = await this.#deps.replica.size(topics.journal);
    } catch {
      // The next append says what is wrong.
    }
  }

  /** Whether there was anything. All at once: the bus puts each at its place or not at all. */
  async #appendPage(): Promise<boolean> {
    const { journal, replica } = this.#deps;
    const entries = this.#takeTold() ?? (await journal.read(this.#size, pageEntries));
    if (entries.length === 0) return false;
    const from = this.#size;
    const done = await Promise.allSettled(
      entries.map((entry, i) => replica.append(topics.journal, from + i, canonicalJson(entry))),
    );
    const failed = done.findIndex(({ status }) => status === 'rejected');
    this.#size = from + (failed < 0 ? entries.length : failed);
    if (failed >= 0) throw (done[failed] as PromiseRejectedResult).reason;
    return true;
  }

  /** What was told from the copy's end on; null where that is not known. */
  #takeTold(): readonly JournalEntry[] | null {
    const told = this.#told.filter(({ seq }) => seq >= this.#size);
    this.#told = [];
    return told[0]?.seq === this.#size ? told : null;
  }
}
