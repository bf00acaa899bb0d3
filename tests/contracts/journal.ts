/** @file What every journal promises. An adapter's test calls this with a function that opens a fresh one. */
import { describe, expect, it } from 'vitest';
import { emptyHead, headAfter, type Journal, nextEntry } from '../../src/journal/port.ts';
import type { JournalEntry } from '../../src/protocol/messages.ts';
import { DrivenRun } from '../support/run-driver.ts';

/** A valid journal of a small run: the entries in order. */
export function sampleEntries(): JournalEntry[] {
  const run = new DrivenRun();
  for (const miner of run.miners) run.join(miner);
  for (const miner of run.miners) run.lease(miner);
  run.due();
  return run.entries.map(({ entry }) => entry);
}

export function testJournal(name: string, open: () => Promise<{ journal: Journal; close: () => Promise<void> }>): void {
  const withJournal = async (body: (journal: Journal, entries: JournalEntry[]) => Promise<void>) => {
    const { journal, close } = await open();
    try {
      await body(journal, sampleEntries());
    } finally {
      await close();
    }
  };

  describe(`journal contract: ${name}`, () => {
    it('begins empty and reads back what was appended', () =>
      withJournal(async (journal, entries) => {
        expect(journal.head).toEqual(emptyHead);
        expect(await journal.read(0, 10)).toEqual([]);
        for (const entry of entries) {
          await journal.append(entry);
          expect(journal.head).toEqual(headAfter(entry));
        }
        expect(await journal.read(0, 1000)).toEqual(entries);
        expect(await journal.read(3, 2)).toEqual(entries.slice(3, 5));
        expect(await journal.read(entries.length, 5)).toEqual([]);
      }));

    it('refuses an entry that does not name the head, and changes nothing', () =>
      withJournal(async (journal, entries) => {
        await journal.append(entries[0]!);
        const forked = { ...entries[1]!, prevHash: entries[2]!.prevHash };
        for (const entry of [entries[0]!, entries[2]!, forked])
          await expect(journal.append(entry)).rejects.toMatchObject({ code: 'CONFLICT', retryable: true });
        expect(journal.head).toEqual(headAfter(entries[0]!));
        await journal.append(entries[1]!);
        expect(await journal.read(0, 10)).toEqual(entries.slice(0, 2));
      }));

    it('takes entries that follow one another together, or none of them', () =>
      withJournal(async (journal, entries) => {
        const seen: number[] = [];
        journal.follow((entry) => seen.push(entry.seq));
        await journal.appendAll(entries.slice(0, 3));
        const holed = [entries[3]!, entries[5]!];
        await expect(journal.appendAll(holed)).rejects.toMatchObject({ code: 'CONFLICT' });
        expect(journal.head).toEqual(headAfter(entries[2]!));
        await journal.appendAll([]);
        await Promise.all([journal.appendAll(entries.slice(3, 5)), journal.appendAll(entries.slice(5))]);
        expect(await journal.read(0, 1000)).toEqual(entries);
        expect(seen).toEqual(entries.map(({ seq }) => seq));
      }));

    it('lets one of two writers win', () =>
      withJournal(async (journal, entries) => {
        await journal.append(entries[0]!);
        const other = { ...entries[1]!, timeMs: entries[1]!.timeMs + 1 };
        const results = await Promise.allSettled([journal.append(entries[1]!), journal.append(other)]);
        expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
        expect(journal.head.size).toBe(2);
      }));

    it('tells followers of every entry, in order, until they stop', () =>
      withJournal(async (journal, entries) => {
        const seen: number[] = [];
        await journal.append(entries[0]!);
        const stop = journal.follow((entry) => seen.push(entry.seq));
        for (const entry of entries.slice(1, 4)) await journal.append(entry);
        stop();
        await journal.append(entries[4]!);
        expect(seen).toEqual([1, 2, 3]);
      }));

    it('is not changed through what it was given or gave', () =>
      withJournal(async (journal, entries) => {
        const given = structuredClone(entries[0]!);
        await journal.append(given);
        given.timeMs = 77;
        const [got] = await journal.read(0, 1);
        got!.timeMs = 78;
        expect(await journal.read(0, 1)).toEqual([entries[0]]);
      }));

    it('does not let time go back', () =>
      withJournal(async (journal, entries) => {
        for (const entry of entries) await journal.append(entry);
        expect(nextEntry(journal.head, entries[0]!.message, 5.7).timeMs).toBe(journal.head.timeMs);
      }));

    it('takes nothing after it is closed', () =>
      withJournal(async (journal, entries) => {
        await journal.close();
        await expect(journal.append(entries[0]!)).rejects.toMatchObject({ code: 'CLOSED' });
      }));
  });
}
