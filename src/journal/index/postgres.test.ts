/** @file The PostgreSQL index against a real server: the contract, and what a server does to who relies on it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { testJournalIndex } from '../../../tests/contracts/journal-index.ts';
import { makeLargeJournal } from '../../../tests/support/large-journal.ts';
import { PostgresServer, postgresProgram } from '../../../tests/support/postgres-server.ts';
import { refold } from '../../../tests/support/refold.ts';
import { MemoryJournal } from '../memory.ts';
import type { RunState } from '../state.ts';
import { Indexer } from './indexer.ts';
import type { KyselyIndex } from './kysely-index.ts';
import type { JournalIndex } from './port.ts';
import { openPostgresIndex, type PostgresIndexOptions } from './postgres.ts';
import type { PostgresTarget } from './postgres-pool.ts';
import { hasPassword, parsePostgresUrl } from './postgres-url.ts';

const limits = { connectMs: 2_000, queryMs: 3_000 };

function targetOf(url: string): PostgresTarget {
  const target = parsePostgresUrl(url);
  if (typeof target === 'string') throw new Error(target);
  return target;
}

describe('the address of an index', () => {
  it('is taken apart, and its password is not told', () => {
    expect(targetOf('postgres://me:secret@db.example:5433/runs?schema=nano&sslmode=verify-full')).toEqual({
      connectionString: 'postgres://me:secret@db.example:5433/runs?sslmode=verify-full',
      server: 'PostgreSQL at db.example:5433, database runs',
      schema: 'nano',
    });
    expect(targetOf('postgres://me@db/runs').schema).toBe('accrete');
    expect(hasPassword('postgres://me:x@db/runs')).toBe(true);
    expect(hasPassword('postgres://me@db/runs?password=x')).toBe(true);
    expect(hasPassword('postgres://me@db/runs')).toBe(false);
  });

  it('is refused where it is none, or would change more than the place', () => {
    for (const [url, says] of [
      ['mysql://db/runs', 'expected postgres://'],
      ['postgres://me@db', 'name one database'],
      ['postgres://me@db/runs?schema=a"b', 'schema: expected'],
      ['postgres://me@db/runs?schema=A', 'schema: expected'],
      ['postgres://me@db/runs?options=-csearch_path%3Dx', "parameter 'options' is not known"],
    ])
      expect(parsePostgresUrl(url!), url).toContain(says);
  });
});

describe.skipIf(!postgresProgram.isThere)(`PostgreSQL (${postgresProgram.need})`, () => {
  let server: PostgresServer;
  let databases = 0;
  const opened: JournalIndex[] = [];
  const patiently = { timeout: 30_000 };
  beforeAll(async () => {
    server = await PostgresServer.start();
  }, 120_000);
  afterAll(async () => {
    await Promise.all(opened.map((index) => index.close().catch(() => {})));
    await server?.stop();
  });

  async function newDatabase(): Promise<string> {
    const name = `run${databases++}`;
    await server.query(`create database ${name}`);
    return name;
  }

  async function open(database: string, more: Partial<PostgresIndexOptions> = {}): Promise<KyselyIndex> {
    const index = await openPostgresIndex({ target: targetOf(server.url(database)), limits, ...more });
    opened.push(index);
    return index;
  }

  testJournalIndex('postgres', async () => {
    const database = await newDatabase();
    let index = await open(database);
    return {
      index,
      reopen: async () => {
        index = await open(database);
        return index;
      },
      remove: () => index.close().catch(() => {}),
    };
  });

  const { entries } = makeLargeJournal({ events: 500, miners: 8, validators: 3 });
  async function journalOf(upTo = entries.length): Promise<MemoryJournal> {
    const journal = new MemoryJournal();
    for (const entry of entries.slice(0, upTo)) await journal.append(entry);
    return journal;
  }
  /** Folds all entries; `at` is called where it says. */
  async function follow(indexer: Indexer, at: Readonly<Record<number, (state: RunState) => Promise<void>>> = {}) {
    let last: RunState | null = null;
    for (const { state, entry } of refold(entries)) {
      indexer.onFold(state, entry);
      last = state;
      await at[entry.seq]?.(state);
    }
    return last!;
  }
  const dump = async (index: JournalIndex) => ({
    head: await index.head(),
    merges: await index.merges({ limit: 200 }),
    miners: await index.miners({ sort: 'uptime', order: 'asc', limit: 200, nowMs: 2e12 }),
    series: await index.series({ prefix: '', points: 2_000 }),
    statuses: await index.claimStatuses(),
  });
  const rowsOf = async (database: string, table: string): Promise<number> =>
    Number((await server.query(`select count(*) as n from ${table}`, database))[0]!.n);

  it('loses nothing when the server is killed between batches, and says so meanwhile', async () => {
    const [index, whole] = [await open(await newDatabase()), await open(await newDatabase())];
    const indexer = await Indexer.open(index, await journalOf());
    const state = await follow(indexer, {
      100: (now) => indexer.flush(now),
      200: async (now) => {
        await server.kill();
        await expect(indexer.flush(now)).rejects.toMatchObject({ code: 'INDEX_AWAY', retryable: true });
        await expect(index.head()).rejects.toMatchObject({ code: 'INDEX_AWAY' });
        expect(indexer.head.size).toBe(101);
        await server.restart();
      },
    });
    await expect
      .poll(
        () =>
          indexer.flush(state).then(
            () => true,
            () => false,
          ),
        patiently,
      )
      .toBe(true);
    // Readers have connections of their own, and for a moment they refuse what failed just now.
    const isThere = (reader: JournalIndex): Promise<boolean> =>
      reader.head().then(
        () => true,
        () => false,
      );
    for (const reader of [index, whole]) await expect.poll(() => isThere(reader), patiently).toBe(true);
    const undisturbed = await Indexer.open(whole, await journalOf());
    await undisturbed.flush(await follow(undisturbed));
    expect(await dump(index)).toEqual(await dump(whole));
  }, 60_000);

  it('applies a batch wholly or not at all when the connection is lost in the middle of it', async () => {
    const database = await newDatabase();
    const index = await open(database);
    const indexer = await Indexer.open(index, await journalOf());
    const state = await follow(indexer, { 100: (now) => indexer.flush(now) });
    const claims = await rowsOf(database, 'accrete.claims');
    // The batch waits for this lock, behind claims it has already written.
    const holder = server
      .query('begin; lock table accrete_0002_p2.marks in exclusive mode; select pg_sleep(120)', database)
      .catch((error: Error) => error.message);
    const waits = (what: string) => `pg_stat_activity where datname = '${database}' and ${what}`;
    const [holds, waitsForIt] = [waits(`wait_event = 'PgSleep'`), waits(`wait_event_type = 'Lock'`)];
    const end = (which: string) => server.query(`select pg_terminate_backend(pid) from ${which}`);
    await expect.poll(() => rowsOf(database, holds), patiently).toBe(1);
    const writing = indexer.flush(state);
    const rejected = expect(writing).rejects.toMatchObject({ code: 'INDEX_AWAY' });
    await expect.poll(() => rowsOf(database, waitsForIt), patiently).toBe(1);
    await end(waitsForIt);
    await rejected;
    await end(holds);
    expect(await holder).toContain('terminat');
    expect(await rowsOf(database, 'accrete.claims')).toBe(claims);
    expect((await index.head()).size).toBe(101);
    await indexer.flush(state);
    expect((await index.head()).size).toBe(entries.length);
  }, 60_000);

  it('goes on where a commit came through and its answer did not', async () => {
    const index = await open(await newDatabase());
    let losses = 1;
    const lossy = new Proxy(index, {
      get: (target, name) => {
        const method = Reflect.get(target, name, target).bind(target);
        if (name !== 'apply') return method;
        return async (...batch: unknown[]) => {
          await method(...batch);
          if (losses-- > 0) throw new Error('connection lost');
        };
      },
    });
    const indexer = await Indexer.open(lossy, await journalOf());
    const state = await follow(indexer, { 99: (now) => expect(indexer.flush(now)).rejects.toThrow('connection lost') });
    await indexer.flush(state);
    expect((await index.head()).size).toBe(entries.length);
  });

  it('has one writer: a second indexer waits, reads, and takes over without mixing rows', async () => {
    const database = await newDatabase();
    const [first, second] = [await open(database), await open(database)];
    const leader = await Indexer.open(first, await journalOf());
    const state = await follow(leader, { 199: (now) => leader.flush(now) });
    await leader.flush(state);
    const before = await dump(first);
    const standby = await Indexer.open(second, await journalOf());
    expect(standby.head.size).toBe(entries.length);
    expect(await dump(second)).toEqual(before);
    await expect(second.addSamples([{ series: 'a', atMs: 1, countedTokens: 1, value: 1 }])).rejects.toMatchObject({
      code: 'INDEX_BUSY',
      retryable: true,
    });
    await expect(second.clear()).rejects.toMatchObject({ code: 'INDEX_BUSY' });
    await first.close();
    await expect
      .poll(() => second.addSamples([{ series: 'a', atMs: 1, countedTokens: 1, value: 1 }]).then(() => 'in'), patiently)
      .toBe('in');
  });

  it('another run cannot empty it while its own writes', async () => {
    const database = await newDatabase();
    const indexer = await Indexer.open(await open(database), await journalOf());
    await indexer.flush(await follow(indexer));
    const others = new MemoryJournal();
    for (const entry of makeLargeJournal({ events: 50, miners: 4, validators: 3, seed: 'other' }).entries)
      await others.append(entry);
    await expect(Indexer.open(await open(database), others)).rejects.toMatchObject({ code: 'INDEX_BUSY' });
    const beside = await openPostgresIndex({ target: targetOf(`${server.url(database)}?schema=other`), limits });
    opened.push(beside);
    expect((await Indexer.open(beside, others)).head.size).toBe(0);
  });

  it('fills a new form beside the old one, which answers until the new one is level', async () => {
    const database = await newDatabase();
    const old = await open(database);
    const sample = { series: 'training-loss/mean', atMs: 5, countedTokens: 5, value: 2.5 };
    await old.addSamples([sample]);
    const writer = await Indexer.open(old, await journalOf());
    await writer.flush(await follow(writer));
    const answered = await dump(old);
    const rows = await rowsOf(database, 'accrete.claims');
    const next = await open(database, { form: 'next' });
    const builder = await Indexer.open(next, await journalOf());
    const state = await follow(builder, {
      300: async (now) => {
        await builder.flush(now);
        expect(await rowsOf(database, 'accrete.claims')).toBe(rows);
        expect(await rowsOf(database, 'accrete_next.claims')).toBeLessThan(rows);
        expect(await dump(old)).toEqual(answered);
      },
    });
    await builder.flush(state);
    expect(await dump(next)).toEqual(answered);
    expect(await server.query('select * from accrete.generations order by name', database)).toEqual([
      { name: 'accrete_0002_p2', isCurrent: '0' },
      { name: 'accrete_next', isCurrent: '1' },
    ]);
    // Who still runs the old program goes on; its tables go once nobody does.
    const third = await open(database, { form: 'next' });
    await third.close();
    expect(await dump(old)).toEqual(answered);
    await old.close();
    await (await open(database, { form: 'next' })).close();
    expect(await server.query('select name from accrete.generations', database)).toEqual([{ name: 'accrete_next' }]);
    expect(await rowsOf(database, 'accrete.samples')).toBe(1);
  }, 60_000);

  it('says what is wrong with a password, a database, a role, a server', async () => {
    const database = await newDatabase();
    await server.query(`create role reader login password 'r'; grant connect on database ${database} to reader`);
    const cases = [
      [server.url(database, 'owner', 'wrong'), 'INDEX_DENIED', 'check the password'],
      [server.url('nowhere'), 'INDEX_DENIED', 'make the database'],
      [server.url(database, 'reader', 'r'), 'INDEX_DENIED', 'the right to create schemas'],
      ['postgres://owner@127.0.0.1:1/x', 'INDEX_AWAY', 'it is tried again'],
    ] as const;
    for (const [url, code, says] of cases) {
      const fault = await openPostgresIndex({ target: targetOf(url), limits }).then(
        () => null,
        (error: Error) => error,
      );
      expect(fault, url).toMatchObject({ code });
      expect(fault!.message).toContain(says);
      expect(fault!.message).not.toMatch(/wrong|tests/);
    }
  });

  it('is refused while its database is read-only, and then goes on where it was', async () => {
    const database = await newDatabase();
    const index = await open(database);
    const indexer = await Indexer.open(index, await journalOf());
    const state = await follow(indexer, { 99: (now) => indexer.flush(now) });
    await index.close();
    await server.query(`alter database ${database} set default_transaction_read_only = on`);
    const sealed = openPostgresIndex({ target: targetOf(server.url(database)), limits });
    await expect(sealed).rejects.toMatchObject({ code: 'INDEX_DENIED', retryable: true });
    await server.query(`alter database ${database} set default_transaction_read_only = off`);
    const again = await Indexer.open(await open(database), await journalOf());
    expect(again.head.size).toBe(100);
    await again.flush(await follow(again));
    expect(again.head.size).toBe(state.size);
  });

  it('tells a full disk, keeps what it had, and goes on when there is room', async () => {
    const database = await newDatabase();
    const index = await open(database);
    const indexer = await Indexer.open(index, await journalOf());
    const full = `create function full_disk() returns trigger language plpgsql as
      $$ begin raise exception 'could not extend file: No space left on device' using errcode = '53100'; end $$;
      create trigger full_disk before insert on accrete_0002_p2.points execute function full_disk()`;
    const state = await follow(indexer, { 99: (now) => indexer.flush(now) });
    await server.query(full, database);
    await expect(indexer.flush(state)).rejects.toMatchObject({ code: 'DISK_FULL', retryable: true });
    expect((await index.head()).size).toBe(100);
    await server.query('drop trigger full_disk on accrete_0002_p2.points', database);
    await indexer.flush(state);
    expect((await index.head()).size).toBe(entries.length);
  });

  it('keeps a sentence with a NUL, which PostgreSQL cannot, without it', async () => {
    const index = await open(await newDatabase());
    const indexer = await Indexer.open(index, await journalOf());
    await indexer.flush(await follow(indexer));
    const row = (await index.claim((await firstClaim(index))!))!;
    const { size, headHash, lastTimeMs } = await index.head();
    const none = { merges: [], miners: [], validators: [], points: [], marks: [] };
    const to = { size: size + 1, headHash, lastTimeMs };
    await index.apply({ from: { size, headHash }, to, claims: [{ ...row, sentence: 'a\0b' }], ...none });
    expect((await index.claim(row.id))!.sentence).toBe('a\ufffdb');
  });
  const firstClaim = async (index: JournalIndex) => {
    const { hotkey } = (await index.miners({ sort: 'tokens', order: 'desc', limit: 1, nowMs: 2e12 })).rows[0]!;
    return (await index.claims({ hotkey, status: 'all', limit: 1 })).rows[0]?.id;
  };
});
