/** @file The bus's copy gets every entry once and in order, from what the replicator was told or else from the journal. */
import { describe, expect, it } from 'vitest';
import { sampleEntries } from '../../../tests/contracts/journal.ts';
import type { Replica } from '../../bus/port.ts';
import { MemoryJournal } from '../../journal/memory.ts';
import { VirtualClock } from '../../simulate/virtual-clock.ts';
import { canonicalJson } from '../../util/canonical-json.ts';
import { silentLog, silentMetrics } from '../../util/clock.ts';
import { JournalReplicator } from './replicator.ts';

const entries = sampleEntries();

class MemoryReplica implements Replica {
  readonly texts: string[] = [];
  isAway = false;

  async size(): Promise<number> {
    if (this.isAway) throw away();
    return this.texts.length;
  }

  async append(_: string, at: number, payload: string): Promise<void> {
    if (this.isAway) throw away();
    expect(at).toBe(this.texts.length);
    this.texts.push(payload);
  }

  async read(_: string, from: number, limit: number): Promise<readonly string[]> {
    return this.texts.slice(from, from + limit);
  }
}

const away = (): Error => Object.assign(new Error('away'), { retryable: true });

async function open() {
  const journal = new MemoryJournal();
  const replica = new MemoryReplica();
  const clock = new VirtualClock(1_000);
  const reads: number[] = [];
  const replicator = new JournalReplicator({
    ...{ replica, clock, log: silentLog, metrics: silentMetrics, signal: new AbortController().signal },
    journal: new Proxy(journal, {
      get: (target, name) => {
        if (name === 'read')
          return (from: number, limit: number) => {
            reads.push(from);
            return target.read(from, limit);
          };
        const own = target[name as keyof MemoryJournal];
        return typeof own === 'function' ? (own as () => unknown).bind(target) : own;
      },
    }),
  });
  await journal.append(entries[0]!);
  await replicator.start();
  reads.length = 0;
  const append = async (from: number, to: number, { isTold = true } = {}): Promise<void> => {
    const group = entries.slice(from, to);
    await journal.appendAll(group);
    replicator.wake(isTold ? group : []);
  };
  const expectAll = (count: number): void =>
    expect(replica.texts).toEqual(entries.slice(0, count).map((entry) => canonicalJson(entry)));
  return { replica, clock, reads, append, expectAll };
}

describe('the copy', () => {
  it('gets what was told, without a reading of it', async () => {
    const { clock, reads, append, expectAll } = await open();
    await append(1, 3);
    await append(3, 4);
    await clock.quiesce();
    expectAll(4);
    expect(reads).not.toContain(1);
  });

  it('gets from the journal what was not told, or follows later only', async () => {
    const { clock, reads, append, expectAll } = await open();
    await append(1, 3, { isTold: false });
    await append(3, 5);
    await clock.quiesce();
    expectAll(5);
    expect(reads).toContain(1);
  });

  it('gets each once after the bus was away', async () => {
    const { replica, clock, append, expectAll } = await open();
    replica.isAway = true;
    await append(1, 3);
    await clock.advance(700);
    await append(3, 6);
    await clock.advance(700);
    expectAll(1);
    replica.isAway = false;
    await clock.advance(1_500);
    expectAll(6);
  });

  it('an entry that is journaled before the copy is measured does not make the journal look behind it', async () => {
    const entries = [...sampleEntries()];
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
    const replicator = new JournalReplicator({
      journal,
      replica,
      clock,
      signal,
      log: silentLog,
      metrics: silentMetrics,
    });
    await journal.append(last);
    replicator.wake();
    await replicator.start();
    await replicator.close();
    expect(kept).toEqual([...entries, last].map((entry) => canonicalJson(entry)));
  });
});
