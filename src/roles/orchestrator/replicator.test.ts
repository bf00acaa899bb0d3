/** @file The bus's copy of the journal while entries come before its start: every entry at its place, and nobody's history doubted. */
import { expect, it } from 'vitest';
import { sampleEntries } from '../../../tests/contracts/journal.ts';
import type { Replica } from '../../bus/port.ts';
import { MemoryJournal } from '../../journal/memory.ts';
import { canonicalJson } from '../../util/canonical-json.ts';
import { silentLog, silentMetrics } from '../../util/clock.ts';
import { JournalReplicator } from './replicator.ts';

it('an entry that is journaled before the copy is measured does not make the journal look behind it', async () => {
  const entries = sampleEntries();
  const last = entries.pop()!;
  const journal = new MemoryJournal();
  for (const entry of entries) await journal.append(entry);
  const kept = entries.map((entry) => canonicalJson(entry));
  const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
  const replica: Replica = {
    size: async () => {
      await turn();
      return kept.length;
    },
    read: async (_, from, limit) => {
      await turn();
      return kept.slice(from, from + limit);
    },
    // Done between the measuring and the comparison.
    append: async (_, at, payload) => {
      await turn();
      if (kept[at] === payload) return;
      expect(at).toBe(kept.length);
      kept.push(payload);
    },
  };
  const clock = { nowMs: () => 0, sleep: turn };
  const signal = new AbortController().signal;
  const replicator = new JournalReplicator({ journal, replica, clock, signal, log: silentLog, metrics: silentMetrics });
  await journal.append(last);
  replicator.wake();
  await replicator.start();
  await replicator.close();
  expect(kept).toEqual([...entries, last].map((entry) => canonicalJson(entry)));
});
