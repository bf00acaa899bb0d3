/** @file The SQLite index: the contract, on a file and in memory; damage; and that it follows any fold. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { testJournalIndex } from '../../../tests/contracts/journal-index.ts';
import { makeLargeJournal } from '../../../tests/support/large-journal.ts';
import { refold } from '../../../tests/support/refold.ts';
import { DrivenRun } from '../../../tests/support/run-driver.ts';
import { MemoryJournal } from '../memory.ts';
import { Indexer } from './indexer.ts';
import { Projector } from './projector.ts';
import { openSqliteIndex } from './sqlite.ts';

const folder = mkdtempSync(join(tmpdir(), 'accrete-index-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let files = 0;
const newPath = (): string => join(folder, `${files++}`, 'journal.sqlite');

testJournalIndex('sqlite', async () => {
  const path = newPath();
  let index = await openSqliteIndex({ path });
  return {
    index,
    reopen: async () => {
      index = await openSqliteIndex({ path });
      return index;
    },
    remove: () => index.close(),
  };
});

describe('sqlite index', () => {
  it('is made anew where its file is damaged', async () => {
    const path = newPath();
    const index = await openSqliteIndex({ path });
    await index.addSamples([{ series: 'a', atMs: 1, countedTokens: 1, value: 1 }]);
    await index.close();
    for (const name of readdirSync(dirname(path))) writeFileSync(join(dirname(path), name), Buffer.alloc(9_000, 7));
    const again = await openSqliteIndex({ path });
    expect((await again.head()).size).toBe(0);
    expect(await again.series({ prefix: '', points: 5 })).toEqual([]);
    await again.close();
  });

  it('says which folder cannot be written', async () => {
    const path = join(folder, 'a-file');
    writeFileSync(path, '');
    await expect(openSqliteIndex({ path: join(path, 'x.sqlite') })).rejects.toThrow();
  });
});

describe('indexer', () => {
  const { entries } = makeLargeJournal({ events: 700, miners: 8, validators: 3 });
  const journalOf = async (upTo: number): Promise<MemoryJournal> => {
    const journal = new MemoryJournal();
    for (const entry of entries.slice(0, upTo)) await journal.append(entry);
    return journal;
  };

  it('goes on where it stopped, as if it had never stopped', async () => {
    const whole = await openSqliteIndex({ path: ':memory:' });
    const resumed = await openSqliteIndex({ path: ':memory:' });
    for (const [index, stops] of [
      [whole, [entries.length]],
      [resumed, [1, 333, 334, entries.length]],
    ] as const)
      for (const stop of stops) {
        const indexer = await Indexer.open(index, await journalOf(stop));
        let last: Parameters<typeof indexer.flush>[0] | null = null;
        for (const { state, entry } of refold(entries.slice(0, stop))) {
          indexer.onFold(state, entry);
          last = state;
        }
        await indexer.flush(last!);
      }
    for (const read of [
      (index: typeof whole) => index.head(),
      (index: typeof whole) => index.merges({ limit: 200 }),
      (index: typeof whole) => index.miners({ sort: 'hotkey', order: 'asc', limit: 200, nowMs: 2e12 }),
      (index: typeof whole) => index.series({ prefix: '', points: 2_000 }),
      (index: typeof whole) => index.claimStatuses(),
      (index: typeof whole) => index.validators(),
    ])
      expect(await read(resumed)).toEqual(await read(whole));
    await whole.close();
    await resumed.close();
  });

  it('clears an index of another journal, and one that is ahead', async () => {
    const other = makeLargeJournal({ events: 300, miners: 8, validators: 3, seed: 'other' }).entries;
    for (const [what, indexed] of [
      ['another journal', other],
      ['ahead', entries],
    ] as const) {
      const index = await openSqliteIndex({ path: ':memory:' });
      const projector = new Projector();
      let state = null;
      for (const folded of refold(indexed)) {
        projector.onFold(folded.state, folded.entry);
        state = folded.state;
      }
      await index.apply(projector.take(state!)!);
      await Indexer.open(index, await journalOf(200));
      expect((await index.head()).size, what).toBe(0);
      expect((await index.merges({ limit: 1 })).total, what).toBe(0);
      await index.close();
    }
  });

  it('tries again what could not be written', async () => {
    const index = await openSqliteIndex({ path: ':memory:' });
    let failures = 1;
    const flaky = new Proxy(index, {
      get: (target, name) =>
        name === 'apply' && failures-- > 0
          ? () => Promise.reject(new Error('disk'))
          : Reflect.get(target, name, target).bind(target),
    });
    const indexer = await Indexer.open(flaky, await journalOf(entries.length));
    let last = null;
    for (const { state, entry } of refold(entries)) {
      indexer.onFold(state, entry);
      last = state;
      if (entry.seq === 99) await expect(indexer.flush(state)).rejects.toThrow('disk');
    }
    await indexer.flush(last!);
    expect((await index.head()).size).toBe(entries.length);
    await index.close();
  });
});

describe('projector', () => {
  it('says of any claim what the fold says, whatever happened', async () => {
    const commands = fc.array(fc.record({ op: fc.nat(99), a: fc.nat(20), b: fc.nat(40) }), {
      minLength: 60,
      maxLength: 220,
    });
    await fc.assert(
      fc.asyncProperty(commands, async (list) => {
        const run = new DrivenRun({ audit: { ...new DrivenRun().manifest.audit, perTempo: 2 } });
        for (const command of list) run.do(command);
        const index = await openSqliteIndex({ path: ':memory:' });
        const projector = new Projector();
        let state = null;
        for (const folded of refold(run.entries.map(({ entry }) => entry))) {
          projector.onFold(folded.state, folded.entry);
          state = folded.state;
          if (folded.entry.seq % 5 === 0) await index.apply(projector.take(state)!);
        }
        const rest = projector.take(state!);
        if (rest !== null) await index.apply(rest);
        for (const claim of state!.claims.values())
          expect(await index.claim(claim.id)).toMatchObject({
            ...{ status: claim.status, code: claim.code, sentence: claim.sentence, mergedAtMs: claim.mergedAtMs },
            ...{ isOverturned: claim.isOverturned ? 1 : 0, isDisputed: claim.dispute === null ? 0 : 1 },
          });
        for (const { hotkey } of state!.learners.values()) {
          const audits = [...state!.audits.values()].filter(({ body }) => body.hotkey === hotkey);
          const count = (...statuses: string[]): number =>
            audits.filter(({ status }) => statuses.includes(status)).length;
          expect(await index.miner(hotkey)).toMatchObject({
            ...{ auditsOpen: count('open', 'answered'), auditsPassed: count('passed'), auditsFailed: count('failed') },
          });
        }
        await index.close();
      }),
      { numRuns: 25, seed: 5 },
    );
  });
});
