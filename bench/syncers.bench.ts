/**
 * @file Two syncers: what an append costs in the shared log beside the journal of a single one, and how long nothing is merged
 * when the leader is killed in the middle of a merge (real processes, preset tiny).
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openFileJournal } from '../src/journal/file.ts';
import { headAfter, type Journal, nextEntry } from '../src/journal/port.ts';
import { SharedJournal } from '../src/journal/shared.ts';
import { type LogPlace, SharedLog } from '../src/journal/shared-log.ts';
import type { Envelope, EventBody } from '../src/protocol/messages.ts';
import { GroupAdmission } from '../src/roles/orchestrator/group-admission.ts';
import { WriteOnceFolder } from '../src/store/write-once-folder.ts';
import { silentLog } from '../src/util/clock.ts';
import { sampleEntries } from '../tests/contracts/journal.ts';
import { syncerNames, TwoSyncers } from '../tests/support/two-syncers.ts';
import { type Bench, type BenchRow, percentile } from './measure.ts';

const appendCount = 300;
const kills = 10;
const atOnce = 16;
const [farMs, farAppendCount, groupCount] = [30, 30, 64];

const clock = {
  nowMs: () => performance.now(),
  sleep: (ms: number) => new Promise<void>((resolve) => void setTimeout(resolve, ms)),
};

export const syncers: Bench = {
  name: 'syncers',
  about: 'appends beside those of one syncer; time from the kill of a leader in a merge to the end of that merge',
  isLong: true,
  async run() {
    const root = mkdtempSync(join(tmpdir(), 'accrete-bench-'));
    try {
      const rows = await appends(root);
      for (const { what, value, detail } of rows) console.error(`${what}: ${value}; ${detail}`);
      return [...rows, ...(await failovers(join(root, 'network')))];
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  },
};

async function appends(root: string): Promise<BenchRow[]> {
  const message = sampleEntries().at(-1)!.message;
  const { journal: file } = await openFileJournal({ folder: join(root, 'file') });
  const { journal: copy } = await openFileJournal({ folder: join(root, 'copy'), isCopy: true });
  const place = await WriteOnceFolder.open(join(root, 'shared'));
  const log = new SharedLog({ place, syncer: 'bench', writer: 'bench', clock, log: silentLog });
  await log.takeLead();
  const shared = new SharedJournal({ log, copy, lines: null });
  const rows: BenchRow[] = [];
  // In turns, so that what else the machine does hits both.
  const times = { file: [] as number[], shared: [] as number[] };
  for (let i = 0; i < appendCount; i++) {
    times.file.push(await timeAppend(file, message));
    times.shared.push(await timeAppend(shared, message));
  }
  rows.push(row('append, one syncer’s file', times.file), row('append, shared folder', times.shared));
  const batches: number[] = [];
  for (let i = 0; i < appendCount / atOnce; i++) {
    const startedAt = performance.now();
    let head = shared.head;
    const appending: Promise<void>[] = [];
    for (let j = 0; j < atOnce; j++) {
      const entry = nextEntry(head, message, 0);
      appending.push(shared.append(entry));
      head = headAfter(entry);
    }
    await Promise.all(appending);
    batches.push((performance.now() - startedAt) / atOnce);
  }
  rows.push(row(`append, shared folder, ${atOnce} at once`, batches));
  await shared.close();
  await file.close();
  return [...rows, ...(await farAppends(root))];
}

/** A place that answers after `farMs`: one entry at a time, and groups as the orchestrator admits them. */
async function farAppends(root: string): Promise<BenchRow[]> {
  const message = sampleEntries().at(-1)!.message;
  const { journal: copy } = await openFileJournal({ folder: join(root, 'far copy'), isCopy: true });
  const near = await WriteOnceFolder.open(join(root, 'far'));
  const place: LogPlace = {
    putNew: (name, bytes) => clock.sleep(farMs).then(() => near.putNew(name, bytes)),
    get: (name) => clock.sleep(farMs).then(() => near.get(name)),
  };
  const log = new SharedLog({ place, syncer: 'bench', writer: 'bench', clock, log: silentLog });
  await log.takeLead();
  const journal = new SharedJournal({ log, copy, lines: null });
  const times: number[] = [];
  for (let i = 0; i < farAppendCount; i++) times.push(await timeAppend(journal, message));
  const grouped: number[] = [];
  const admission = new GroupAdmission({
    ...{ journal, clock, signal: new AbortController().signal },
    onDurable: async () => {},
    onFailure: (error) => console.error(error),
  });
  let head = journal.head;
  const admitNext = (): void => {
    const entry = nextEntry(head, message, 0);
    head = headAfter(entry);
    admission.admit(entry, 1_000);
  };
  for (let i = 0; i < farAppendCount; i++) {
    const startedAt = performance.now();
    await Promise.all(Array.from({ length: groupCount }, () => admission.enqueue(admitNext)));
    grouped.push((performance.now() - startedAt) / groupCount);
  }
  await journal.close();
  return [
    row(`append, place of ${farMs} ms, one at a time`, times),
    row(`append, place of ${farMs} ms, ${groupCount} waiting`, grouped),
  ];
}

async function timeAppend(journal: Journal, message: Envelope): Promise<number> {
  const entry = nextEntry(journal.head, message, 0);
  const startedAt = performance.now();
  await journal.append(entry);
  return performance.now() - startedAt;
}

function row(what: string, timesMs: readonly number[]): BenchRow {
  const mean = timesMs.reduce((sum, each) => sum + each, 0) / timesMs.length;
  return {
    what,
    value: `${Math.round(1_000 / mean)} entries/s`,
    detail: `p50 ${percentile(timesMs, 0.5).toFixed(2)} ms, p99 ${percentile(timesMs, 0.99).toFixed(2)} ms an entry`,
  };
}

async function failovers(root: string): Promise<BenchRow[]> {
  const network = await TwoSyncers.open(root);
  const doneMs: number[] = [];
  const gapMs: number[] = [];
  try {
    for (let i = 0; i < kills; i++) {
      const leader = network.leader();
      const other = syncerNames.find((name) => name !== leader)!;
      const outerStep = await network.killInMerge(leader);
      const killedAt = performance.now();
      const isDone = (): boolean =>
        network
          .entries(other)
          .some(
            ({ message: { kind, body } }) =>
              kind === 'fragment-published' && (body as EventBody<'fragment-published'>).outerStep === outerStep,
          );
      await network.until(isDone, 'the merge', 20);
      doneMs.push(performance.now() - killedAt);
      const merges = network.merges(other);
      await network.until(() => network.merges(other) > merges, 'the next merge', 20);
      gapMs.push(performance.now() - killedAt);
      console.error(
        `kill ${i + 1}: merge done after ${seconds(doneMs.at(-1)!)}, the next after ${seconds(gapMs.at(-1)!)}`,
      );
      network.startSyncer(leader);
      const standBys = count(network.logOf(leader));
      await network.until(() => count(network.logOf(leader)) > standBys, 'the follower');
    }
  } finally {
    await network.close();
  }
  const verified = await Promise.all(syncerNames.map((name) => network.verify(name)));
  const isGood = verified.some(({ code }) => code === 0);
  const told = (what: string, times: readonly number[]): BenchRow => ({
    what,
    value: seconds(percentile(times, 0.5)),
    detail: `median of ${times.length} kills; worst ${seconds(Math.max(...times))}; ${times.map(seconds).join(', ')}`,
  });
  return [
    told('kill → the merge done', doneMs),
    told('kill → the next merge done', gapMs),
    { what: 'accrete verify', value: isGood ? 'good' : 'BAD', detail: isGood ? '' : verified[0]!.out.slice(0, 300) },
  ];
}

const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;

const count = (log: string): number => log.split('standing by').length - 1;
