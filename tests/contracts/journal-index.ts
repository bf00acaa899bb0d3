/** @file What every index of a journal must do; adapters call `testJournalIndex` with how they are opened. */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { JournalIndex, MinerSort } from '../../src/journal/index/port.ts';
import { Projector } from '../../src/journal/index/projector.ts';
import { type RunState, zeroHash } from '../../src/journal/state.ts';
import type { JournalEntry } from '../../src/protocol/messages.ts';
import type { Hash, Hotkey } from '../../src/protocol/names.ts';
import { makeLargeJournal } from '../support/large-journal.ts';
import { refold } from '../support/refold.ts';

export interface IndexFixture {
  readonly index: JournalIndex;
  /** Opens what was closed; null where there is nothing to open again. */
  reopen(): Promise<JournalIndex>;
  remove(): Promise<void>;
}

export function testJournalIndex(name: string, open: () => Promise<IndexFixture>): void {
  describe(`journal index: ${name}`, () => {
    let journal: { readonly entries: readonly JournalEntry[]; readonly state: RunState };
    let fixture: IndexFixture;
    let index: JournalIndex;
    beforeAll(() => {
      journal = makeLargeJournal({ events: 1_100, miners: 12, validators: 3 });
    }, 300_000);
    beforeEach(async () => {
      fixture = await open();
      index = fixture.index;
    });
    afterEach(() => fixture.remove());

    /** Folds all entries and applies them in batches of so many. */
    async function fill(every: number, into: JournalIndex = index): Promise<RunState> {
      const projector = new Projector();
      let state: RunState | null = null;
      for (const folded of refold(journal.entries)) {
        projector.onFold(folded.state, folded.entry);
        state = folded.state;
        if ((folded.entry.seq + 1) % every === 0) await into.apply(projector.take(state)!);
      }
      const rest = projector.take(state!);
      if (rest !== null) await into.apply(rest);
      return state!;
    }

    it('is empty before the first batch', async () => {
      expect(await index.head()).toEqual({ size: 0, headHash: zeroHash, lastTimeMs: 0 });
      expect((await index.merges({ limit: 10 })).rows).toEqual([]);
      expect(await index.series({ prefix: 'gain', points: 10 })).toEqual([]);
    });

    it('ends where its last batch did, also when it is opened again', async () => {
      const state = await fill(100);
      const head = { size: state.size, headHash: state.headHash, lastTimeMs: state.lastTimeMs };
      expect(await index.head()).toEqual(head);
      await index.close();
      index = await fixture.reopen();
      expect(await index.head()).toEqual(head);
    });

    it('has the same rows however its batches are cut', async () => {
      await fill(7);
      const small = await dump(index, journal.state);
      await index.clear();
      await fill(100_000);
      expect(await dump(index, journal.state)).toEqual(small);
    });

    it('says of every claim and miner what the fold says', async () => {
      const state = await fill(64);
      for (const claim of state.claims.values()) {
        const row = await index.claim(claim.id);
        expect(row, claim.id).toMatchObject({
          ...{ hotkey: claim.hotkey, status: claim.status, code: claim.code, sentence: claim.sentence },
          ...{ seq: claim.commitSeq, settledAtMs: claim.settledAtMs, mergedAtMs: claim.mergedAtMs },
          isOverturned: claim.isOverturned ? 1 : 0,
        });
      }
      const { rows } = await index.miners({ sort: 'tokens', order: 'desc', limit: 200, nowMs: state.lastTimeMs });
      expect(rows.length).toBe(state.learners.size);
      for (const row of rows) {
        const own = [...state.learners.values()].filter(({ hotkey }) => hotkey === row.hotkey);
        expect(row.tokens).toBeCloseTo(own.reduce((sum, each) => sum + each.cellTokens, 0) / state.fragments.length, 6);
        expect(row.learnersPresent).toBe(own.filter(({ present }) => present).length);
      }
    });

    it('counts what each validator published, in all rounds and audits', async () => {
      const state = await fill(64);
      const claims = [...state.claims.values()];
      const committee = claims.flatMap(({ verdicts, revealedAtMs }) =>
        verdicts.map((each) => ({ ...each, revealedAtMs })),
      );
      const later = claims.flatMap(({ rechecked, dispute }) => [
        ...(rechecked === null ? [] : [rechecked]),
        ...(dispute?.rulings ?? []),
      ]);
      const redone = [...state.audits.values()].flatMap(({ verdicts }) => verdicts);
      expect([later.length, redone.length].every((count) => count > 0)).toBe(true);
      const rowOf = (validator: Hotkey) => {
        const own = <T extends { readonly hotkey: Hotkey }>(said: readonly T[]): T[] =>
          said.filter(({ hotkey }) => hotkey === validator);
        const said = [...own(committee), ...own(later)];
        const of = (outcome: string): number => said.filter((verdict) => verdict.outcome === outcome).length;
        const newest = own(committee)
          .sort((a, b) => a.atMs - b.atMs)
          .slice(-200);
        const latencies = newest.map(({ atMs, revealedAtMs }) => atMs - revealedAtMs!).sort((a, b) => a - b);
        return {
          ...{ validator, accept: of('accept'), ignore: of('ignore'), reject: of('reject') },
          lastAtMs: Math.max(...said.map(({ atMs }) => atMs)),
          medianLatencyMs: latencies[latencies.length >> 1],
          audits: own(redone).length,
        };
      };
      const validators = [...new Set(committee.map(({ hotkey }) => hotkey))].sort();
      expect(await index.validators()).toEqual(validators.map(rowOf));
    });

    it('refuses a batch that does not follow, and changes nothing', async () => {
      await fill(100_000);
      const before = await dump(index, journal.state);
      const projector = new Projector();
      for (const { state, entry } of refold(journal.entries.slice(0, 50))) projector.onFold(state, entry);
      const batch = projector.take(journal.state)!;
      await expect(index.apply(batch)).rejects.toMatchObject({ code: 'INDEX_CONFLICT' });
      const other = { ...batch, from: { size: journal.state.size, headHash: 'f'.repeat(64) as Hash } };
      await expect(index.apply(other)).rejects.toMatchObject({ code: 'INDEX_CONFLICT' });
      expect(await dump(index, journal.state)).toEqual(before);
    });

    it('pages through everything once, whatever the page and the order', async () => {
      const state = await fill(100_000);
      const nowMs = state.lastTimeMs;
      const hotkey = [...state.claims.values()][0]!.hotkey;
      const sorts: MinerSort[] = [
        'tokens',
        'hotkey',
        'quality',
        'work',
        'reward',
        'staleness',
        'uptime',
        'lastClaim',
        'refused',
      ];
      for (const sort of sorts)
        for (const order of ['asc', 'desc'] as const) {
          const all = (await index.miners({ sort, order, limit: 200, nowMs })).rows.map((row) => row.hotkey);
          const paged = await drain((cursor) => index.miners({ sort, order, limit: 5, nowMs, cursor }));
          expect(
            paged.map((row) => row.hotkey),
            `${sort} ${order}`,
          ).toEqual(all);
          expect(new Set(all).size).toBe(state.learners.size);
        }
      const merges = await drain((cursor) => index.merges({ limit: 3, cursor }));
      expect(merges.map(({ outerStep }) => outerStep)).toEqual(
        (await index.merges({ limit: 200 })).rows.map(({ outerStep }) => outerStep),
      );
      expect(merges.length).toBe(state.merges);
      const claims = await drain((cursor) => index.claims({ hotkey, status: 'all', limit: 2, cursor }));
      expect(claims.length).toBe([...state.claims.values()].filter((claim) => claim.hotkey === hotkey).length);
      expect(claims.map(({ seq }) => seq)).toEqual(claims.map(({ seq }) => seq).sort((a, b) => b - a));
    });

    it('refuses cursors of other questions', async () => {
      const state = await fill(100_000);
      const question = { sort: 'tokens', order: 'asc', limit: 2, nowMs: state.lastTimeMs } as const;
      const { nextCursor } = await index.miners(question);
      expect(nextCursor).toMatch(/^[A-Za-z0-9_-]+$/);
      const cursors = [nextCursor!, 'x', btoa('[1]').replaceAll('=', ''), btoa('["merges",null]').replaceAll('=', '')];
      for (const cursor of cursors)
        await expect(index.merges({ limit: 2, cursor }), cursor).rejects.toMatchObject({ code: 'BAD_CURSOR' });
      const other = index.miners({ ...question, order: 'desc', cursor: nextCursor! });
      await expect(other).rejects.toMatchObject({ code: 'BAD_CURSOR' });
    });

    it('finds miners by the beginning of a hotkey or of a name', async () => {
      const state = await fill(100_000);
      const question = { sort: 'hotkey', order: 'asc', limit: 200, nowMs: state.lastTimeMs } as const;
      const { hotkey, name } = [...state.learners.values()][7]!;
      const byHotkey = await index.miners({ ...question, search: hotkey.slice(0, 9) });
      expect(byHotkey.rows.map((row) => row.hotkey)).toEqual([hotkey]);
      expect((await index.miners({ ...question, search: hotkey.slice(1, 9) })).total).toBe(0);
      const byName = await index.miners({ ...question, search: name });
      expect(byName.rows.map((row) => row.learners)).toEqual([` ${name}`]);
      const gone = [...state.learners.values()].filter(({ present }) => !present).length;
      expect((await index.miners({ ...question, present: false })).total).toBe(gone);
    });

    it('thins series out to the points that are asked for, within their bounds', async () => {
      const state = await fill(100_000);
      const all = await index.series({ prefix: 'gain/', points: 2_000 });
      expect(all.length).toBeGreaterThan(30);
      const thin = await index.series({ prefix: 'gain/', points: 10 });
      expect(thin.length).toBeLessThanOrEqual(10);
      expect(thin.reduce((sum, { samples }) => sum + samples, 0)).toBe(all.length);
      const total = (rows: typeof all): number => rows.reduce((sum, { value, samples }) => sum + value * samples, 0);
      expect(total(thin)).toBeCloseTo(total(all), 6);
      expect(Math.min(...thin.map(({ low }) => low))).toBe(Math.min(...all.map(({ value }) => value)));
      expect(Math.max(...thin.map(({ high }) => high))).toBe(Math.max(...all.map(({ value }) => value)));
      const half = state.cellTokens / state.fragments.length / 2;
      const late = await index.series({ prefix: 'gain/', points: 2_000, fromTokens: half });
      expect(late.length).toBe(all.filter(({ countedTokens }) => countedTokens >= half).length);
      expect(late.length).toBeLessThan(all.length);
      const lines = new Set((await index.series({ prefix: 'held-out-loss/', points: 5 })).map(({ series }) => series));
      expect([...lines]).toEqual([
        'held-out-loss/held-out',
        'held-out-loss/held-out-other',
        'held-out-loss/held-out-other/code',
        'held-out-loss/held-out/facts',
        'held-out-loss/held-out/prose',
      ]);
    });

    it('keeps samples when the projection is cleared, and shows them as series', async () => {
      await fill(100_000);
      const sample = (atMs: number) => ({ series: 'training-loss/loss', atMs, countedTokens: atMs, value: atMs / 10 });
      await index.addSamples([sample(10), sample(20)]);
      await index.addSamples([sample(20), sample(30)]);
      await index.clear();
      expect((await index.head()).size).toBe(0);
      expect((await index.series({ prefix: 'training-loss/', points: 10 })).map(({ value }) => value)).toEqual([
        1, 2, 3,
      ]);
      expect((await index.merges({ limit: 5 })).total).toBe(0);
    });

    it('sorts miners by what the ledger paid them', async () => {
      const state = await fill(100_000);
      const hotkeys = [...state.learners.values()].slice(0, 3).map(({ hotkey }) => hotkey);
      await index.setNeurons(hotkeys.map((hotkey, i) => ({ hotkey, emissionRao: i + 1 })));
      const { rows } = await index.miners({ sort: 'reward', order: 'desc', limit: 3, nowMs: state.lastTimeMs });
      expect(rows.map(({ hotkey, emissionRao }) => [hotkey, emissionRao])).toEqual(
        [2, 1, 0].map((i) => [hotkeys[i], i + 1]),
      );
    });
  });
}

async function drain<T>(
  read: (cursor?: string) => Promise<{ readonly rows: readonly T[]; readonly nextCursor: string | null }>,
): Promise<T[]> {
  const all: T[] = [];
  for (let cursor: string | undefined; ; ) {
    const page = await read(cursor);
    all.push(...page.rows);
    if (page.nextCursor === null) return all;
    cursor = page.nextCursor;
  }
}

/** Everything that the index says, to be compared. */
async function dump(index: JournalIndex, state: RunState): Promise<unknown> {
  const nowMs = state.lastTimeMs;
  const hotkeys = [...new Set([...state.claims.values()].map(({ hotkey }) => hotkey))].sort() as Hotkey[];
  return {
    head: await index.head(),
    merges: await drain((cursor) => index.merges({ limit: 200, cursor })),
    miners: await drain((cursor) => index.miners({ sort: 'hotkey', order: 'asc', limit: 200, nowMs, cursor })),
    claims: await Promise.all(
      hotkeys.map((hotkey) => drain((cursor) => index.claims({ hotkey, status: 'all', limit: 200, cursor }))),
    ),
    codes: await Promise.all(hotkeys.map((hotkey) => index.claimCodes(hotkey))),
    statuses: await index.claimStatuses(),
    validators: await index.validators(),
    series: await index.series({ prefix: '', points: 2_000 }),
    marks: await Promise.all(
      (['release', 'phase', 'tempo', 'tree-head'] as const).map((kind) => index.marks(kind, 500)),
    ),
  };
}
