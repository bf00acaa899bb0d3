/** @file A journal in memory, for simulations and tests: the same promises but for crashes. */
import type { JournalEntry } from '../protocol/messages.ts';
import { JournalError } from './errors.ts';
import { emptyHead, headAfterAll, type Journal, type JournalHead } from './port.ts';

export class MemoryJournal implements Journal {
  readonly #entries: JournalEntry[] = [];
  readonly #handlers = new Set<(entry: JournalEntry) => void>();
  #head: JournalHead = emptyHead;
  #isClosed = false;

  get head(): JournalHead {
    return this.#head;
  }

  append(entry: JournalEntry): Promise<void> {
    return this.appendAll([entry]);
  }

  async appendAll(entries: readonly JournalEntry[]): Promise<void> {
    if (this.#isClosed) throw new JournalError('CLOSED', 'the journal is closed');
    this.#head = headAfterAll(this.#head, entries);
    const own = structuredClone(entries);
    this.#entries.push(...own);
    for (const entry of own) for (const handler of this.#handlers) handler(entry);
  }

  async read(from: number, limit: number): Promise<JournalEntry[]> {
    return structuredClone(this.#entries.slice(from, from + limit));
  }

  follow(handler: (entry: JournalEntry) => void): () => void {
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#handlers.clear();
  }
}
