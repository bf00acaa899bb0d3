/** @file The read API over PostgreSQL: every answer is SQLite's, and none is given while the database is away. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openPostgresIndex } from '../src/journal/index/postgres.ts';
import { parsePostgresUrl } from '../src/journal/index/postgres-url.ts';
import { type ApiRoute, apiRoutes } from '../src/protocol/api/routes.ts';
import { seriesMetric } from '../src/protocol/api/training.ts';
import type { Clock } from '../src/util/clock.ts';
import { makeLargeJournal } from './support/large-journal.ts';
import { PostgresServer, postgresProgram } from './support/postgres-server.ts';
import { ReplayedRun } from './support/replayed-run.ts';

describe.skipIf(!postgresProgram.isThere)(`the read API over PostgreSQL (${postgresProgram.need})`, () => {
  const { entries } = makeLargeJournal({ events: 1_300, miners: 12, validators: 3 });
  const clock: Clock = {
    nowMs: () => entries.at(-1)!.timeMs + 1_000,
    sleep: (ms, signal) => sleep(ms, undefined, signal === undefined ? {} : { signal }),
  };
  let server: PostgresServer;
  let runs: { readonly sqlite: ReplayedRun; readonly postgres: ReplayedRun };
  beforeAll(async () => {
    server = await PostgresServer.start();
    const target = parsePostgresUrl(server.url());
    if (typeof target === 'string') throw new Error(target);
    const index = await openPostgresIndex({ target, limits: { connectMs: 2_000, queryMs: 5_000 } });
    runs = {
      sqlite: await ReplayedRun.open({ entries, clock, played: 1_200 }),
      postgres: await ReplayedRun.open({ entries, clock, played: 1_200, index }),
    };
    const hotkeys = [...runs.sqlite.state.learners.values()].map(({ hotkey }) => hotkey);
    for (const { sources } of Object.values(runs)) {
      await sources.index.addSamples(
        [3, 1, 2].map((n) => ({ series: 'training-loss/mean', atMs: n * 1_000, countedTokens: n, value: n / 7 })),
      );
      await sources.index.setNeurons(hotkeys.slice(0, 7).map((hotkey, i) => ({ hotkey, emissionRao: i * 1e9 + 1 })));
    }
  }, 120_000);
  afterAll(async () => {
    await Promise.all(Object.values(runs ?? {}).map((run) => run.close().catch(() => {})));
    await server?.stop();
  });

  const read = async (run: ReplayedRun, path: string): Promise<{ readonly status: number; readonly text: string }> => {
    const response = await fetch(`${run.url}/api/v1/${path}`);
    return { status: response.status, text: await response.text() };
  };

  /** Every route with what is there, and what orders, cuts and thins rows. */
  function addresses(): string[] {
    const { learners, claims, merges } = runs.sqlite.state;
    const hotkeys = [...new Set([...learners.values()].map(({ hotkey }) => hotkey))];
    const values: Record<string, readonly string[]> = {
      hotkey: hotkeys,
      outerStep: Array.from({ length: merges }, (_, i) => String(i)),
      claim: [...claims.keys()].filter((_, i) => i % 5 === 0),
      release: ['0', '1', '99'],
      metric: seriesMetric.options,
    };
    const plain = Object.values(apiRoutes as Record<string, ApiRoute>).flatMap(({ path }) => {
      const name = /:(\w+)/.exec(path)?.[1];
      return name === undefined ? [path] : values[name]!.map((value) => path.replace(`:${name}`, value));
    });
    const sorts = ['tokens', 'hotkey', 'quality', 'work', 'reward', 'staleness', 'uptime', 'lastClaim', 'refused'];
    return [
      ...plain,
      ...sorts.flatMap((sort) => ['asc', 'desc'].map((order) => `miners?sort=${sort}&order=${order}&limit=5`)),
      ...['true', 'false'].map((present) => `miners?present=${present}`),
      ...['M', 'm1', hotkeys[3]!.slice(0, 6), 'nobody'].map((search) => `miners?search=${search}`),
      ...[0, 1, 2].map((fragment) => `merges?fragment=${fragment}&limit=3`),
      ...['all', 'open', 'refused', 'merged'].map((status) => `miners/${hotkeys[0]}/claims?status=${status}&limit=4`),
      ...seriesMetric.options.flatMap((metric) => [
        `series/${metric}?points=7`,
        `series/${metric}?points=9&fromTokens=1000`,
      ]),
    ];
  }

  it('answers the same, page by page', async () => {
    let compared = 0;
    for (const first of addresses())
      for (let path: string | null = first; path !== null; ) {
        const [ours, theirs] = await Promise.all([read(runs.postgres, path), read(runs.sqlite, path)]);
        expect(ours.status, path).toBe(theirs.status);
        // Texts, so that also the order of keys is the same; only means may differ, by how they are added up.
        if (ours.text !== theirs.text) {
          expect(path).toMatch(/^(series\/|overview)/);
          expect(rounded(ours.text), path).toEqual(rounded(theirs.text));
        }
        compared++;
        const { nextCursor = null } = JSON.parse(ours.text) as { nextCursor?: string | null };
        path = nextCursor === null ? null : `${first}${first.includes('?') ? '&' : '?'}cursor=${nextCursor}`;
      }
    expect(compared).toBeGreaterThan(150);
  }, 120_000);

  it('refuses a cursor that does not fit as SQLite’s does', async () => {
    const forged = Buffer.from(JSON.stringify(['miners refused desc', [1.5, 'x']])).toString('base64url');
    for (const run of Object.values(runs))
      expect([200, 400]).toContain((await read(run, `miners?sort=refused&order=desc&cursor=${forged}`)).status);
  });

  it('says that the index is behind while the database is away, and goes on after it', async () => {
    const { postgres } = runs;
    await server.kill();
    await postgres.play(10);
    for (const path of ['overview', 'merges?limit=3', 'miners']) {
      const { status, text } = await read(postgres, path);
      expect(status, path).toBe(503);
      expect(JSON.parse(text), path).toMatchObject({ code: 'UNAVAILABLE', retryAfterSeconds: 5 });
      expect(text, path).toContain('the index is behind the journal');
    }
    await server.restart();
    await expect.poll(async () => (await read(postgres, 'merges?limit=3')).status, { timeout: 10_000 }).toBe(200);
    await runs.sqlite.play(10);
    expect(JSON.parse((await read(postgres, 'merges?limit=9')).text)).toEqual(
      JSON.parse((await read(runs.sqlite, 'merges?limit=9')).text),
    );
  }, 60_000);
});

/** Numbers to twelve digits. */
const rounded = (text: string): unknown =>
  JSON.parse(text, (_, value) => (typeof value === 'number' ? Number(value.toPrecision(12)) : value));
