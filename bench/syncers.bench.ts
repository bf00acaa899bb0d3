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
import type { WriteOnce } from '../src/store/port.ts';
import { S3Bucket } from '../src/store/s3-bucket.ts';
import { parseS3Url } from '../src/store/s3-place.ts';
import { WriteOnceBucket, writeOnceBucketOptions } from '../src/store/write-once-bucket.ts';
import { WriteOnceFolder } from '../src/store/write-once-folder.ts';
import { silentLog } from '../src/util/clock.ts';
import { sampleEntries } from '../tests/contracts/journal.ts';
import { NatsServer, natsProgram } from '../tests/support/nats-server.ts';
import { type RadosGateway, radosGateway, startRadosGateway } from '../tests/support/rados-gateway.ts';
import { syncerNames, TwoSyncers, type TwoSyncersOptions } from '../tests/support/two-syncers.ts';
import { type Bench, type BenchRow, percentile } from './measure.ts';

const appendCount = 300;
const kills = 10;
const atOnce = 16;
const farMs = 30;
const farAppendCount = 40;
const groupCount = 64;

const clock = {
  nowMs: () => performance.now(),
  sleep: (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms).unref()),
};

export const syncers: Bench = {
  name: 'syncers',
  about:
    'appends in the shared log beside the journal of one syncer; time from the kill of a leader in a merge to the end of that merge, over a folder and over S3 and NATS',
  isLong: true,
  async run() {
    const root = mkdtempSync(join(tmpdir(), 'accrete-bench-'));
    const rows: BenchRow[] = [];
    // Each as it comes: the whole takes long.
    const tell: Tell = (row) => {
      console.error(`${row.what}: ${row.value}; ${row.detail}`);
      rows.push(row);
    };
    const servers: { close(): Promise<void> }[] = [];
    try {
      const gateway = radosGateway.isThere ? await startRadosGateway() : null;
      if (gateway !== null) servers.push(gateway);
      await appends(root, gateway, tell);
      await farAppends(root, tell);
      if (gateway !== null && natsProgram.isThere) {
        const nats = await NatsServer.start();
        servers.push(nats);
        await failovers(join(root, 'far'), await farNetwork(gateway, nats), tell);
      }
      await failovers(join(root, 'near'), { what: 'folder, WebSocket', options: {}, verify: [] }, tell);
      return rows;
    } finally {
      for (const server of servers) await server.close();
      rmSync(root, { recursive: true, force: true });
    }
  },
};

type Tell = (row: BenchRow) => void;

interface Network {
  readonly what: string;
  readonly options: TwoSyncersOptions;
  /** More arguments of `accrete verify`. */
  readonly verify: readonly string[];
}

async function farNetwork(gateway: RadosGateway, nats: NatsServer): Promise<Network> {
  const bucket = await gateway.makeBucket();
  await gateway.allowReads(bucket, 'run/store/');
  const { accessKeyId, secretAccessKey } = gateway.credentials;
  return {
    what: 'S3, NATS',
    options: {
      shared: `s3://${bucket}/run?endpoint=${gateway.endpoint}`,
      engines: ['--bus', nats.url],
      environment: { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey },
    },
    verify: ['--store', `${gateway.endpoint}/${bucket}/run`],
  };
}

/** In turns, so that what else the machine does hits all. */
async function appends(root: string, gateway: RadosGateway | null, tell: Tell): Promise<void> {
  const message = sampleEntries().at(-1)!.message;
  const journals = new Map<string, Journal>();
  journals.set('one syncer’s file', (await openFileJournal({ folder: join(root, 'file') })).journal);
  journals.set('shared folder', await openShared(root, 'folder', await WriteOnceFolder.open(join(root, 'shared'))));
  let bucket: S3Bucket | null = null;
  if (gateway !== null) {
    const url = `s3://${await gateway.makeBucket()}/run?endpoint=${gateway.endpoint}`;
    bucket = new S3Bucket(parseS3Url(url), { ...writeOnceBucketOptions, credentials: gateway.credentials });
    journals.set('shared bucket', await openShared(root, 'bucket', await WriteOnceBucket.open(bucket)));
  }
  const times = new Map([...journals.keys()].map((name) => [name, [] as number[]]));
  for (let i = 0; i < appendCount; i++)
    for (const [name, journal] of journals) times.get(name)!.push(await timeAppend(journal, message));
  for (const [name, each] of times) tell(row(`append, ${name}`, each));
  for (const [name, journal] of journals) {
    const batches: number[] = [];
    for (let i = 0; i < appendCount / atOnce; i++) {
      const startedAt = performance.now();
      let head = journal.head;
      const appending: Promise<void>[] = [];
      for (let j = 0; j < atOnce; j++) {
        const entry = nextEntry(head, message, 0);
        appending.push(journal.append(entry));
        head = headAfter(entry);
        if (name === 'one syncer’s file') await appending.at(-1); // it takes one after the other
      }
      await Promise.all(appending);
      batches.push((performance.now() - startedAt) / atOnce);
    }
    tell(row(`append, ${name}, ${atOnce} at once`, batches));
  }
  for (const journal of journals.values()) await journal.close();
  bucket?.close();
}

async function openShared(root: string, name: string, place: WriteOnce): Promise<Journal> {
  const { journal: copy } = await openFileJournal({ folder: join(root, name), isCopy: true });
  const log = new SharedLog({ place, syncer: 'bench', writer: 'bench', clock, log: silentLog });
  await log.takeLead();
  return new SharedJournal({ log, copy, lines: null });
}

async function timeAppend(journal: Journal, message: Envelope): Promise<number> {
  const entry = nextEntry(journal.head, message, 0);
  const startedAt = performance.now();
  await journal.append(entry);
  return performance.now() - startedAt;
}

/** A place that answers after `farMs`: one entry at a time, and groups as the orchestrator admits them. */
async function farAppends(root: string, tell: Tell): Promise<void> {
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
  tell(row(`append, place of ${farMs} ms, one at a time`, times));
  tell(row(`append, place of ${farMs} ms, ${groupCount} waiting`, grouped));
}

function row(what: string, timesMs: readonly number[]): BenchRow {
  const mean = timesMs.reduce((sum, each) => sum + each, 0) / timesMs.length;
  return {
    what,
    value: `${Math.round(1_000 / mean)} entries/s`,
    detail: `p50 ${percentile(timesMs, 0.5).toFixed(2)} ms, p99 ${percentile(timesMs, 0.99).toFixed(2)} ms an entry`,
  };
}

async function failovers(root: string, { what, options, verify }: Network, tell: Tell): Promise<void> {
  const network = await TwoSyncers.open(root, options);
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
        `${what}, kill ${i + 1}: merge done after ${seconds(doneMs.at(-1)!)}, the next after ${seconds(gapMs.at(-1)!)}`,
      );
      network.startSyncer(leader);
      const standBys = count(network.logOf(leader));
      await network.until(() => count(network.logOf(leader)) > standBys, 'the follower');
    }
  } finally {
    await network.close();
  }
  const verified = await Promise.all(syncerNames.map((name) => network.verify(name, verify)));
  const isGood = verified.some(({ code }) => code === 0);
  const told = (end: string, times: readonly number[]): BenchRow => ({
    what: `${what}: kill → ${end}`,
    value: seconds(percentile(times, 0.5)),
    detail: `median of ${times.length} kills; worst ${seconds(Math.max(...times))}; ${times.map(seconds).join(', ')}`,
  });
  tell(told('the merge done', doneMs));
  tell(told('the next merge done', gapMs));
  const detail = isGood ? '' : verified[0]!.out.slice(0, 300);
  tell({ what: `${what}: accrete verify`, value: isGood ? 'good' : 'BAD', detail });
}

const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;

const count = (log: string): number => log.split('standing by').length - 1;
