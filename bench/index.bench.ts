/**
 * @file The journal's index and the read API over a long journal (--run DIR, as `scripts/large-journal.ts` writes it): how fast the
 * index is made again beside the fold alone, what it takes on disk and in memory, and how long each route takes: in SQLite, and in
 * PostgreSQL where that is installed.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { journalFileName } from '../src/journal/file.ts';
import type { JournalIndex } from '../src/journal/index/port.ts';
import { openPostgresIndex } from '../src/journal/index/postgres.ts';
import { parsePostgresUrl } from '../src/journal/index/postgres-url.ts';
import { Projector } from '../src/journal/index/projector.ts';
import { openSqliteIndex } from '../src/journal/index/sqlite.ts';
import type { JournalEntry } from '../src/protocol/messages.ts';
import { PostgresServer, postgresProgram } from '../tests/support/postgres-server.ts';
import { refold } from '../tests/support/refold.ts';
import { ReplayedRun } from '../tests/support/replayed-run.ts';
import { type Bench, type BenchRow, percentile } from './measure.ts';

const batchEntries = 4_096;
const requests = 200;

export const index: Bench = {
  name: 'index',
  about: 'the index of a journal (--run DIR) made again, and the read API over it',
  async run({ run }) {
    const path = join(run, journalFileName);
    if (!existsSync(path))
      return [{ what: 'skipped', value: '', detail: `no journal in ${run}; scripts/large-journal.ts makes one` }];
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
    const entries = lines.map((line) => JSON.parse(line) as JournalEntry);
    const folder = mkdtempSync(join(tmpdir(), 'accrete-index-bench-'));
    try {
      const file = join(folder, 'journal.sqlite');
      const rows = await rebuild(entries, await openSqliteIndex({ path: file }));
      rows.push(fileRow(file), ...(await answer(entries)));
      return [...rows, ...(await besidePostgres(entries))];
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

interface Spent {
  wallMs: number;
  cpuMs: number;
}

/** Wall and processor time of a part of the work, added up: on a shared machine only the second says much. */
function spend<T>(on: Spent, work: () => T): T {
  const [startMs, cpu] = [performance.now(), process.cpuUsage()];
  const stop = (): void => {
    const { user, system } = process.cpuUsage(cpu);
    on.wallMs += performance.now() - startMs;
    on.cpuMs += (user + system) / 1_000;
  };
  const result = work();
  if (result instanceof Promise) return result.finally(stop) as T;
  stop();
  return result;
}

const megabytes = (bytes: number): string => `${Math.round(bytes / 1e6)} MB`;

function fileRow(path: string): BenchRow {
  const sizeOf = (end: string): number => statSync(`${path}${end}`, { throwIfNoEntry: false })?.size ?? 0;
  return { what: 'file', value: megabytes(sizeOf('') + sizeOf('-wal')), detail: 'with its log' };
}

/** The same over a real PostgreSQL that writes through to the disk, on this machine: its own processor time is not in the numbers. */
async function besidePostgres(entries: readonly JournalEntry[]): Promise<BenchRow[]> {
  if (!postgresProgram.isThere) return [{ what: 'PostgreSQL', value: 'skipped', detail: postgresProgram.need }];
  const server = await PostgresServer.start({ isDurable: true });
  try {
    const open = (schema: string): Promise<JournalIndex> => {
      const target = parsePostgresUrl(`${server.url()}?schema=${schema}`);
      if (typeof target === 'string') throw new Error(target);
      return openPostgresIndex({ target });
    };
    const rows = await rebuild(entries, await open('rebuilt'));
    const [size] = await server.query(`select pg_database_size('postgres') as bytes`);
    rows.push({ what: 'database', value: megabytes(Number(size!.bytes)), detail: 'with the 8 MB of an empty one' });
    rows.push(...(await answer(entries, await open('answering'))));
    return rows.map((row) => ({ ...row, what: `PostgreSQL: ${row.what}` }));
  } finally {
    await server.stop();
  }
}

/** One pass over the journal, its parts timed apart: the fold, which every role does anyway, and what the index adds. */
async function rebuild(entries: readonly JournalEntry[], index: JournalIndex): Promise<BenchRow[]> {
  const [folding, projecting, writing] = Array.from({ length: 3 }, (): Spent => ({ wallMs: 0, cpuMs: 0 }));
  const projector = new Projector();
  const folded = refold(entries);
  for (let from = 0; from < entries.length; from += batchEntries) {
    const batch = entries.slice(from, from + batchEntries);
    for (const entry of batch) {
      const next = spend(folding!, () => folded.next());
      if (next.done) break;
      spend(projecting!, () => projector.onFold(next.value.state, entry));
      if (entry !== batch.at(-1)) continue;
      const rows = spend(projecting!, () => projector.take(next.value.state)!);
      await spend(writing!, () => index.apply(rows));
    }
  }
  const rate = ({ cpuMs }: Spent): string =>
    `${Math.round((entries.length / cpuMs) * 1_000).toLocaleString('en-US')} events/s`;
  const row = (what: string, spent: Spent, detail: string): BenchRow => ({
    what,
    value: rate(spent),
    detail: `${Math.round(spent.cpuMs)} ms of processor, ${Math.round(spent.wallMs)} ms in all; ${detail}`,
  });
  await index.close();
  return [
    row('fold', folding!, `${entries.length} events, signatures not checked`),
    row('projection', projecting!, 'rows made from the fold'),
    row('writing', writing!, `one transaction for ${batchEntries} events; waiting is in the whole time only`),
    { what: 'memory', value: megabytes(process.memoryUsage.rss()), detail: 'resident, with all entries and one fold' },
  ];
}

/** Each route over HTTP, one request after another; no answer from the cache but where it says so. */
async function answer(entries: readonly JournalEntry[], index?: JournalIndex): Promise<BenchRow[]> {
  const nowMs = entries.at(-1)!.timeMs + 1_000;
  const clock = { nowMs: () => nowMs, sleep: (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms)) };
  const run = await ReplayedRun.open({
    ...{ entries, clock, requestsPerMinute: 1_000_000 },
    ...(index === undefined ? {} : { index }),
  });
  const rows: BenchRow[] = [];
  try {
    const miners = [...new Set([...run.state.learners.values()].map(({ hotkey }) => hotkey))];
    const claims = [...run.state.claims.keys()];
    const merges = run.state.merges;
    const routes: Readonly<Record<string, (i: number) => string>> = {
      run: () => 'run',
      overview: () => 'overview',
      'series/gain, 500 points': (i) => `series/gain?points=500&fromMs=${i}`,
      'series/throughput, 500 points': (i) => `series/throughput?points=500&fromMs=${i}`,
      fragments: () => 'fragments',
      'merges, 50 rows': (i) => `merges?limit=50&fragment=${i % 8}`,
      'merges/N': (i) => `merges/${(i * 7) % merges}`,
      'miners, 50 rows': (i) => `miners?limit=50&sort=${['tokens', 'quality', 'uptime', 'reward'][i % 4]}`,
      'miners by name': (i) => `miners?search=m${i % 200}`,
      'miners/HOTKEY': (i) => `miners/${miners[i % miners.length]}`,
      'miners/HOTKEY/claims, 50 rows': (i) => `miners/${miners[i % miners.length]}/claims`,
      'claims/ID': (i) => `claims/${claims[(i * 91) % claims.length]}`,
      validators: () => 'validators',
      releases: () => 'releases',
      record: () => 'record',
      rewards: () => 'rewards',
    };
    for (const [what, path] of Object.entries(routes)) rows.push(await measure(run, what, path));
  } finally {
    await run.close();
  }
  return rows;
}

async function measure(run: ReplayedRun, what: string, path: (i: number) => string): Promise<BenchRow> {
  const times: number[] = [];
  const spent: Spent = { wallMs: 0, cpuMs: 0 };
  let bytes = 0;
  for (let i = 0; i < requests; i++) {
    const startMs = performance.now();
    const body = await spend(spent, async () => {
      const response = await fetch(`${run.url}/api/v1/${path(i)}`);
      if (!response.ok) throw new Error(`${path(i)}: ${response.status}`);
      return response.arrayBuffer();
    });
    times.push(performance.now() - startMs);
    bytes = Math.max(bytes, body.byteLength);
  }
  const ms = (share: number): string => `${percentile(times, share).toFixed(1)} ms`;
  return {
    what,
    value: ms(0.5),
    detail: `p99 ${ms(0.99)}, ${(spent.cpuMs / requests).toFixed(1)} ms of processor with the client's; ${requests} requests, ${Math.round(bytes / 1_000)} kB at most`,
  };
}
