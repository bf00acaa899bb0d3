/**
 * @file A journal that several syncers share: an entry is in it once it is in the shared log, where the next leader will find
 * it; only then anybody is told. Each syncer keeps a copy of its own, from which it reads, and which can be made again.
 * The embedded ledger's lines go through the same log, so that one lead covers both.
 */
import { type JournalEntry, journalEntrySchema } from '../protocol/messages.ts';
import { describeFault, entryHash } from '../protocol/signing.ts';
import { canonicalJson } from '../util/canonical-json.ts';
import type { Clock } from '../util/clock.ts';
import { JournalError } from './errors.ts';
import { headAfterAll, type Journal, type JournalHead } from './port.ts';
import type { Segment, SharedLog } from './shared-log.ts';

/** Lines of something else that goes with the journal: the embedded ledger's. */
export interface LineCopy {
  readonly sizeBytes: number;
  append(...texts: readonly string[]): Promise<number>;
  /** Whole lines from the beginning of one on. */
  lines(fromByte: number): AsyncIterable<{ readonly text: string }>;
}

/** How much of journal and ledger the log holds. */
export interface Logged {
  readonly entries: number;
  readonly lineBytes: number;
}

export interface SharedJournalOptions {
  readonly log: SharedLog;
  /** The copy of the journal. */
  readonly copy: Journal;
  /** Null where the run lives on another chain. */
  readonly lines: LineCopy | null;
  /** What the log holds up to where it is read from; nothing if left out. */
  readonly logged?: Logged;
}

export interface LeadOptions {
  /** Checks and folds an entry before it is kept. @throws what a leader's lie is called */
  readonly check: (entry: JournalEntry) => void;
  /** Awaited after something new was kept. */
  readonly onRead?: () => Promise<void>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Silence of the leader after which this syncer takes the lead. */
  readonly silenceMs: number;
  readonly pollMs?: number;
}

const defaultPollMs = 100;
const migratedAtOnce = 256;

/** One line of a segment: an entry, or a ledger's line and where in the ledger's file it begins. */
type LogRecord = { readonly journal: JournalEntry } | { readonly ledger: string; readonly at: number };

export class SharedJournal implements Journal {
  readonly #options: SharedJournalOptions;
  /** After everything that was handed to the log. */
  #ahead: JournalHead;
  #copied: JournalEntry[] = [];
  #copying: Promise<unknown> = Promise.resolve();
  #logged: Logged;

  constructor(options: SharedJournalOptions) {
    this.#options = options;
    this.#ahead = options.copy.head;
    this.#logged = options.logged ?? { entries: 0, lineBytes: 0 };
  }

  get head(): JournalHead {
    return this.#options.copy.head;
  }

  /** Resolves when this syncer can no longer lead: it has to open the journal anew. */
  get lost(): Promise<JournalError> {
    return this.#options.log.lost;
  }

  get logged(): Logged {
    return this.#logged;
  }

  append(entry: JournalEntry): Promise<void> {
    return this.appendAll([entry]);
  }

  /** All in one segment. @throws JournalError FENCED when another syncer leads; nothing is appended then */
  async appendAll(entries: readonly JournalEntry[]): Promise<void> {
    const { log, copy } = this.#options;
    const before = this.#ahead;
    const after = headAfterAll(before, entries);
    this.#ahead = after;
    try {
      await log.append(entries.map((journal) => encode({ journal })));
    } catch (error) {
      if (this.#ahead.hash === after.hash) this.#ahead = before;
      throw error;
    }
    this.#logged = { ...this.#logged, entries: after.size };
    this.#copied.push(...entries);
    this.#copying = this.#copying.then(() => this.#copyAll());
    await this.#copying;
    if (copy.head.size < after.size) throw behind(`entry ${after.size - 1}`);
  }

  async #copyAll(): Promise<void> {
    const entries = this.#copied.splice(0);
    if (entries.length > 0) await this.#options.copy.appendAll(entries).catch((cause) => this.#fallBehind(cause));
  }

  /** What is in the log is journaled: a copy that cannot be written only ends this syncer's lead. */
  #fallBehind(cause: unknown): void {
    const sentence = `the own copy of the journal cannot be written: ${String(cause)}`;
    this.#options.log.abandon(new JournalError('FENCED', sentence, { cause }));
  }

  /** Lines of the ledger, in the log and then in the copy. @throws JournalError FENCED */
  async appendLines(texts: readonly string[]): Promise<void> {
    const { lines } = this.#options;
    await this.#logLines(lines!.sizeBytes, texts);
    await lines!.append(...texts).catch((cause) => {
      this.#fallBehind(cause);
      throw behind('a line of the ledger');
    });
  }

  async #logLines(at: number, texts: readonly string[]): Promise<void> {
    let offset = at;
    const records = texts.map((text) => {
      const record = encode({ ledger: text, at: offset });
      offset += Buffer.byteLength(text) + 1;
      return record;
    });
    await this.#options.log.append(records);
    this.#logged = { ...this.#logged, lineBytes: offset };
  }

  read(from: number, limit: number): Promise<JournalEntry[]> {
    return this.#options.copy.read(from, limit);
  }

  follow(handler: (entry: JournalEntry) => void): () => void {
    return this.#options.copy.follow(handler);
  }

  /**
   * Follows the leader until it gave up or fell silent, and takes the lead; false once the signal aborts. Whoever leads has read
   * all that was ever told to anybody. @throws JournalError DAMAGED; what `check` throws
   */
  async untilLeading(options: LeadOptions): Promise<boolean> {
    const { clock, signal, silenceMs, pollMs = defaultPollMs } = options;
    const { log } = this.#options;
    let heardAtMs = clock.nowMs();
    let isFree = log.position.next === 0;
    while (!signal.aborted) {
      const segments = await this.#readOn(options);
      // Silence counts while it could be heard.
      if (segments === null) heardAtMs = clock.nowMs();
      else if (segments.length > 0) {
        heardAtMs = clock.nowMs();
        isFree = segments.at(-1)!.kind === 'end';
        continue;
      } else if ((isFree || clock.nowMs() - heardAtMs >= silenceMs) && (await log.takeLead())) {
        await this.#bringOld();
        return true;
      }
      await clock.sleep(pollMs, signal).catch(() => {}); // an abort ends the loop
    }
    return false;
  }

  async close(): Promise<void> {
    await this.#options.log.close();
    await this.#copying;
    await this.#options.copy.close();
  }

  /** What was written since, checked, folded and kept; null while the place is away. */
  async #readOn({ check, onRead }: LeadOptions): Promise<Segment[] | null> {
    const segments = await this.#options.log.readOn().catch((error) => {
      if ((error as { retryable?: boolean }).retryable === true) return null;
      throw error;
    });
    if (segments === null) return null;
    for (const segment of segments) await this.#keep(segment, check);
    if (segments.length > 0) await onRead?.();
    return segments;
  }

  async #keep({ number, records }: Segment, check: LeadOptions['check']): Promise<void> {
    const entries: JournalEntry[] = [];
    for (const text of records) {
      const record = decode(text, number);
      if ('ledger' in record) await this.#keepLine(record, number);
      else if (await this.#isNew(record.journal, entries)) {
        check(record.journal);
        entries.push(record.journal);
      }
    }
    if (entries.length > 0) await this.#options.copy.appendAll(entries);
    this.#ahead = this.#options.copy.head;
  }

  /** False for what the copy has; its own must be the same. */
  async #isNew(entry: JournalEntry, before: readonly JournalEntry[]): Promise<boolean> {
    const { copy } = this.#options;
    this.#logged = { ...this.#logged, entries: Math.max(this.#logged.entries, entry.seq + 1) };
    if (entry.seq >= copy.head.size + before.length) return true;
    const [own] = await copy.read(entry.seq, 1);
    if (own !== undefined && entryHash(own) === entryHash(entry)) return false;
    throw new JournalError('DAMAGED', `entry ${entry.seq} of this folder is not the shared log's: another run?`);
  }

  async #keepLine({ ledger, at }: { readonly ledger: string; readonly at: number }, number: number): Promise<void> {
    const { lines } = this.#options;
    this.#logged = { ...this.#logged, lineBytes: at + Buffer.byteLength(ledger) + 1 };
    if (lines === null || at < lines.sizeBytes) return;
    if (at > lines.sizeBytes)
      throw new JournalError('DAMAGED', `segment ${number} of the shared log leaves out lines of the ledger`);
    await lines.append(ledger);
  }

  /** What the copy has and the log has not: a run that began with one syncer brings it in. */
  async #bringOld(): Promise<void> {
    const { log, copy, lines } = this.#options;
    let at = this.#logged.lineBytes;
    if (lines !== null && at < lines.sizeBytes)
      for await (const { text } of lines.lines(at)) {
        await this.#logLines(at, [text]);
        at += Buffer.byteLength(text) + 1;
      }
    while (this.#logged.entries < copy.head.size) {
      const entries = await copy.read(this.#logged.entries, migratedAtOnce);
      await log.append(entries.map((journal) => encode({ journal })));
      this.#logged = { ...this.#logged, entries: this.#logged.entries + entries.length };
    }
  }
}

const behind = (what: string): JournalError =>
  new JournalError('FENCED', `${what} is journaled, and the own copy lacks it: it is opened anew`, { retryable: true });

const encode = (record: LogRecord): string => canonicalJson(record);

function decode(text: string, number: number): LogRecord {
  const damaged = (why: string) => new JournalError('DAMAGED', `segment ${number} of the shared log ${why}`);
  let raw: { readonly journal?: unknown; readonly ledger?: unknown; readonly at?: unknown };
  try {
    raw = JSON.parse(text);
  } catch {
    throw damaged('holds a line that is no JSON');
  }
  if (typeof raw.ledger === 'string' && Number.isSafeInteger(raw.at)) return { ledger: raw.ledger, at: Number(raw.at) };
  const entry = journalEntrySchema.safeParse(raw.journal);
  if (!entry.success) throw damaged(`holds no entry (${describeFault(entry.error)})`);
  return { journal: entry.data };
}
