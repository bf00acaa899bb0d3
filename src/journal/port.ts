/**
 * @file The journal: signed events in one order, appended and never changed. It keeps the hash chain; whether an event is
 * allowed is the fold's question (`fold.ts`), asked before.
 */
import type { Envelope, JournalEntry } from '../protocol/messages.ts';
import type { Hash } from '../protocol/names.ts';
import { entryHash } from '../protocol/signing.ts';
import { JournalError } from './errors.ts';
import { zeroHash } from './state.ts';

/** Where the next entry goes. */
export interface JournalHead {
  readonly size: number;
  /** Hash of the last entry; zeros if there is none. */
  readonly hash: Hash;
  readonly timeMs: number;
}

export const emptyHead: JournalHead = { size: 0, hash: zeroHash, timeMs: 0 };

export interface Journal {
  readonly head: JournalHead;
  /**
   * Appends the entry if it names the head (seq and prevHash), else fails with `CONFLICT` (retryable) and changes nothing:
   * of two writers one wins. Durable when it resolves: an entry that was reported is there after a crash. `DISK_FULL` and
   * `IO` leave no part of it.
   */
  append(entry: JournalEntry): Promise<void>;
  /** The same of entries that follow one another, durable together: all of them or, where it fails, none. */
  appendAll(entries: readonly JournalEntry[]): Promise<void>;
  /** Entries from `from` on, in order, at most `limit`; none past the end. */
  read(from: number, limit: number): Promise<JournalEntry[]>;
  /** Calls back for every entry appended from now on, in order, after it is durable. Returns what ends it. */
  follow(handler: (entry: JournalEntry) => void): () => void;
  close(): Promise<void>;
}

/** The entry that puts a message at the head. Time never goes back, whatever the clock does. */
export function nextEntry(head: JournalHead, message: Envelope, nowMs: number): JournalEntry {
  return { seq: head.size, prevHash: head.hash, timeMs: Math.max(head.timeMs, Math.floor(nowMs)), message };
}

export const headAfter = (entry: JournalEntry): JournalHead => ({
  size: entry.seq + 1,
  hash: entryHash(entry),
  timeMs: entry.timeMs,
});

/** The head after entries that follow one another from `head` on. Throws `CONFLICT` unless they do. */
export function headAfterAll(head: JournalHead, entries: readonly JournalEntry[]): JournalHead {
  let after = head;
  for (const entry of entries) {
    checkNext(after, entry);
    after = headAfter(entry);
  }
  return after;
}

/** Throws `CONFLICT` unless the entry goes right after `head`. */
export function checkNext(head: JournalHead, entry: JournalEntry): void {
  if (entry.seq === head.size && entry.prevHash === head.hash) return;
  throw new JournalError(
    'CONFLICT',
    `expected entry ${head.size} after ${head.hash}, got ${entry.seq} after ${entry.prevHash}; read on and try again`,
    { context: { size: head.size, seq: entry.seq }, retryable: true },
  );
}
