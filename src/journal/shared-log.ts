/**
 * @file One log that several syncers share: numbered segments, each an object whose name can be taken once. Whoever takes the
 * next name has appended; so of two syncers one leads, and one that was away too long finds its next name taken and
 * has lost the lead: nothing that it had not written is anybody's. Safety needs no clock. It knows nothing of what it carries.
 */
import { z } from 'zod';
import { sha256 } from '../protocol/hash.ts';
import { countSchema, type Hash, hashSchema } from '../protocol/names.ts';
import { equalBytes, fromUtf8, toHex, utf8 } from '../util/bytes.ts';
import { canonicalJson } from '../util/canonical-json.ts';
import type { Clock, Log } from '../util/clock.ts';
import { JournalError } from './errors.ts';
import { zeroHash } from './state.ts';

/** Objects under names that are taken once; of two who take one name one wins, and a reader sees all of it or nothing. */
export interface LogPlace {
  /** True if this call took the name, durably; false if it was taken. A failure says nothing: it may be taken all the same. */
  putNew(name: string, bytes: Uint8Array): Promise<boolean>;
  /** Null while nobody took the name. */
  get(name: string): Promise<Uint8Array | null>;
}

export interface Segment {
  readonly number: number;
  /** How often the lead had been taken, with this time. */
  readonly term: number;
  /** `end`: its writer gave the lead up. */
  readonly kind: 'lead' | 'records' | 'end';
  /** Who wrote it, for people. */
  readonly syncer: string;
  /** Lines; empty in a sign of life. */
  readonly records: readonly string[];
}

/** After which segment to read on. */
export interface LogPosition {
  readonly next: number;
  readonly term: number;
  /** Of the last segment's bytes. */
  readonly previous: Hash;
}

export interface SharedLogOptions {
  readonly place: LogPlace;
  /** Name of this syncer, for people. */
  readonly syncer: string;
  /** Of this process alone: random. */
  readonly writer: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly from?: LogPosition;
  /** The leader writes at least this often: silence for longer than a few times this is its end. */
  readonly beatMs?: number;
  /** A leader that cannot write for so long leads no more: the others may see the place that it does not see. */
  readonly patienceMs?: number;
}

const headerSchema = z.strictObject({
  version: z.literal(1),
  number: countSchema,
  term: countSchema,
  kind: z.enum(['lead', 'records', 'end']),
  syncer: z.string().min(1).max(64),
  writer: z.string().min(1).max(64),
  previous: hashSchema,
});
type Header = z.infer<typeof headerSchema>;

export const logStart: LogPosition = { next: 0, term: 0, previous: zeroHash };
const defaultBeatMs = 500;
const defaultPatienceMs = 10_000;
/** A call that brings no answer for so long counts as failed; what it did is asked for. */
const callMs = 5_000;
/** A batch is closed once it has so many characters; one record may be longer. */
const batchLength = 4 * 1024 * 1024;
/** Asked for at once where there is more than one to read: a place that is far must not be read slower than it is written. */
const readAheadSegments = 8;
const retryMs = { first: 100, longest: 2_000 };

/** Thousands lie in a folder each. */
export function segmentName(number: number): string {
  const digits = String(number).padStart(12, '0');
  return `log/${digits.slice(0, 9)}/${digits.slice(9)}`;
}

interface Waiting {
  readonly records: readonly string[];
  readonly kind: 'records' | 'end';
  resolve(): void;
  reject(error: JournalError): void;
}

export class SharedLog {
  readonly #options: SharedLogOptions;
  readonly #closing = new AbortController();
  #position: LogPosition;
  #isLeading = false;
  #waiting: Waiting[] = [];
  #draining: Promise<void> = Promise.resolve();
  #isDraining = false;
  #wroteAtMs = 0;
  #lose: (error: JournalError) => void = () => {};
  /** Resolves when another syncer took the lead away from this one. */
  readonly lost = new Promise<JournalError>((resolve) => {
    this.#lose = resolve;
  });

  constructor(options: SharedLogOptions) {
    this.#options = options;
    this.#position = options.from ?? logStart;
  }

  get position(): LogPosition {
    return this.#position;
  }

  get isLeading(): boolean {
    return this.#isLeading;
  }

  /**
   * The segments that were written since, at most `limit`; none while this syncer leads.
   * @throws JournalError DAMAGED; what the place throws, if it gave nothing
   */
  async readOn(limit = 256): Promise<Segment[]> {
    const segments: Segment[] = [];
    const ahead: Promise<Uint8Array | null>[] = [];
    let width = 1;
    while (!this.#isLeading && segments.length < limit) {
      while (ahead.length < Math.min(width, limit - segments.length))
        ahead.push(this.#ask(this.#position.next + ahead.length));
      width = Math.min(2 * width, readAheadSegments);
      const bytes = await ahead.shift()!.catch((error) => {
        if (segments.length === 0) throw error;
        return null; // What was read must not be lost: the position is after it.
      });
      if (bytes === null) break;
      segments.push(this.#take(bytes));
    }
    return segments;
  }

  #ask(number: number): Promise<Uint8Array | null> {
    const name = segmentName(number);
    const asked = this.#answered(name, (place) => place.get(name));
    asked.catch(() => {}); // heard of when its turn comes
    return asked;
  }

  /** False if another syncer wrote meanwhile: read on. Once true, everything written before was read. */
  async takeLead(): Promise<boolean> {
    const bytes = this.#segment({ kind: 'lead', term: this.#position.term + 1 }, []);
    if (!(await this.#put(bytes))) return false;
    this.#take(bytes);
    this.#isLeading = true;
    this.#wroteAtMs = this.#options.clock.nowMs();
    this.#beat().catch(() => {}); // ends with the log
    return true;
  }

  /**
   * Durable, and found by every later leader, when it resolves. Records that wait meanwhile share one segment. Fails with
   * `FENCED` when another syncer leads; then none of them was appended, and none ever will be.
   */
  append(records: readonly string[]): Promise<void> {
    return this.#enqueue('records', records);
  }

  /** Lets another syncer lead at once. */
  async giveUp(): Promise<void> {
    if (!this.#isLeading) return;
    await this.#enqueue('end', []);
    this.#isLeading = false;
  }

  /** Writes nothing more, because this syncer cannot lead on; the others hear its silence. */
  abandon(error: JournalError): void {
    this.#isLeading = false;
    this.#lose(error);
  }

  async close(): Promise<void> {
    this.#closing.abort(new JournalError('CLOSED', 'the shared log is closed'));
    await this.#draining;
  }

  #enqueue(kind: Waiting['kind'], records: readonly string[]): Promise<void> {
    if (this.#closing.signal.aborted) return Promise.reject(this.#closing.signal.reason);
    if (!this.#isLeading) return Promise.reject(fenced());
    return new Promise((resolve, reject) => {
      this.#waiting.push({ kind, records, resolve, reject });
      if (this.#isDraining) return;
      this.#isDraining = true;
      this.#draining = this.#drain();
    });
  }

  /** One write at a time: what came meanwhile goes with the next one. */
  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#takeBatch();
      const { kind } = batch.at(-1)!;
      const bytes = this.#segment(
        { kind, term: this.#position.term },
        batch.flatMap(({ records }) => records),
      );
      try {
        if (!(await this.#put(bytes))) throw fenced();
        this.#take(bytes);
        this.#wroteAtMs = this.#options.clock.nowMs();
        for (const { resolve } of batch) resolve();
      } catch (error) {
        this.#stopLeading(error as JournalError, batch);
      }
    }
    // In the same turn as the look at what waits: whoever appends when he is told must not be left for the next beat.
    this.#isDraining = false;
  }

  #takeBatch(): Waiting[] {
    let length = 0;
    const end = this.#waiting.findIndex(({ records }, i) => {
      length += records.reduce((sum, record) => sum + record.length, 0);
      return i > 0 && (length > batchLength || this.#waiting[i - 1]!.kind === 'end');
    });
    return this.#waiting.splice(0, end < 0 ? this.#waiting.length : end);
  }

  #stopLeading(error: JournalError, batch: readonly Waiting[]): void {
    this.#isLeading = false;
    for (const { reject } of [...batch, ...this.#waiting.splice(0)]) reject(error);
    if (error.code === 'FENCED') this.#lose(error);
  }

  async #beat(): Promise<void> {
    const { clock, beatMs = defaultBeatMs } = this.#options;
    while (this.#isLeading) {
      await clock.sleep(beatMs, this.#closing.signal);
      if (this.#isLeading && !this.#isDraining && clock.nowMs() - this.#wroteAtMs >= beatMs)
        this.append([]).catch(() => {}); // `lost` tells
    }
  }

  /**
   * Takes the next name, or finds that it is taken. A write that failed may have been done: it is tried again until the place
   * says which, because whoever waits for it must not be told either before. If it says nothing for too long, the lead is
   * let go, and whoever leads next finds what was written.
   */
  async #put(bytes: Uint8Array): Promise<boolean> {
    const { clock, log, patienceMs = defaultPatienceMs } = this.#options;
    const name = segmentName(this.#position.next);
    const untilMs = clock.nowMs() + patienceMs;
    for (let pauseMs = retryMs.first; ; pauseMs = Math.min(2 * pauseMs, retryMs.longest)) {
      this.#closing.signal.throwIfAborted();
      let failure: unknown = null;
      try {
        if (await this.#answered(name, (place) => place.putNew(name, bytes))) return true;
      } catch (error) {
        failure = error;
      }
      try {
        const found = await this.#answered(name, (place) => place.get(name));
        if (found !== null) return equalBytes(found, bytes);
      } catch (error) {
        failure = error;
      }
      if (failure !== null && clock.nowMs() >= untilMs) throw away(name, failure);
      log.warn('the shared log cannot be written and is tried again', { name, error: String(failure) });
      await clock.sleep(pauseMs, this.#closing.signal).catch(() => {}); // an abort ends the loop
    }
  }

  /** The place may hang, as a network file system does. */
  async #answered<T>(name: string, ask: (place: LogPlace) => Promise<T>): Promise<T> {
    const { place, clock } = this.#options;
    const ended = new AbortController();
    const onClose = (): void => ended.abort(this.#closing.signal.reason);
    this.#closing.signal.addEventListener('abort', onClose, { once: true });
    const late = clock.sleep(callMs, ended.signal).then(() => {
      throw away(name, `no answer for ${callMs / 1000} s`);
    });
    const asking = ask(place);
    asking.catch(() => {}); // after its time it fails unheard
    try {
      return await Promise.race([asking, late]);
    } finally {
      this.#closing.signal.removeEventListener('abort', onClose);
      ended.abort(new Error('answered'));
      late.catch(() => {});
    }
  }

  #segment({ kind, term }: Pick<Header, 'kind' | 'term'>, records: readonly string[]): Uint8Array {
    const { syncer, writer } = this.#options;
    const { next: number, previous } = this.#position;
    const header: Header = { version: 1, number, term, kind, syncer, writer, previous };
    return utf8([canonicalJson(header), ...records].join('\n'));
  }

  #take(bytes: Uint8Array): Segment {
    const { next: number, term, previous } = this.#position;
    const damaged = (why: string) =>
      new JournalError('DAMAGED', `segment ${number} of the shared log ${why}; is it another run's place?`);
    const [first, ...records] = fromUtf8(bytes).split('\n');
    const header = headerSchema.safeParse(parseJson(first!));
    if (!header.success) throw damaged('has no header that can be read');
    const { data } = header;
    if (data.number !== number || data.previous !== previous) throw damaged('does not follow the one before it');
    if (data.term !== term + (data.kind === 'lead' ? 1 : 0)) throw damaged(`is of term ${data.term} after ${term}`);
    this.#position = { next: number + 1, term: data.term, previous: toHex(sha256(bytes)) as Hash };
    return { number, term: data.term, kind: data.kind, syncer: data.syncer, records };
  }
}

const fenced = (): JournalError =>
  new JournalError('FENCED', 'another syncer leads this run now; nothing was appended', { retryable: true });

const away = (name: string, cause: unknown): JournalError =>
  new JournalError('FENCED', `the shared log is away, ${name} cannot be had: ${String(cause)}`, {
    cause,
    retryable: true,
  });

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // The schema says what is wrong.
  }
}
