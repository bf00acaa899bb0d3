/** @file The bus over NATS beside the orchestrator's own: light learners that speak the real protocol to a real orchestrator. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { NatsServer, natsProgram } from '../tests/support/nats-server.ts';
import { measureFaults } from './bus-faults.ts';
import { type Bench, type BenchRow, percentile } from './measure.ts';

interface Load {
  readonly learners: number;
  readonly heartbeatMs: number;
  readonly claimMs: number;
  readonly warmMs: number;
  readonly measureMs: number;
}

const loads: readonly Load[] = [
  { learners: 1, heartbeatMs: 1_000, claimMs: 500, warmMs: 3_000, measureMs: 10_000 },
  { learners: 10, heartbeatMs: 1_000, claimMs: 2_000, warmMs: 3_000, measureMs: 10_000 },
  { learners: 100, heartbeatMs: 10_000, claimMs: 10_000, warmMs: 5_000, measureMs: 20_000 },
  { learners: 1_000, heartbeatMs: 10_000, claimMs: 60_000, warmMs: 10_000, measureMs: 60_000 },
];
/** Other numbers claim as the next larger load does. */
const loadOf = (learners: number): Load => ({
  ...(loads.find((load) => load.learners >= learners) ?? loads.at(-1)!),
  learners,
});

/** Light learners of one process. */
const learnersEach = 250;

export const bus: Bench = {
  name: 'bus',
  about:
    'light learners over NATS and over the embedded WebSocket: claim to verdict to merge, leases, the orchestrator',
  isLong: true,
  async *run({ learners, over, requests }) {
    for (const count of learners)
      for (const kind of ['nats', 'websocket'] as const)
        if (over.includes(kind) && (kind !== 'nats' || natsProgram.isThere)) yield* await measure(loadOf(count), kind);
    if (natsProgram.isThere && requests > 0) yield await measureFaults(requests);
  },
};

class Child {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(script: string, args: unknown) {
    this.#process = spawn(
      process.execPath,
      ['--import', 'tsx', join(import.meta.dirname, script), JSON.stringify(args)],
      { stdio: ['pipe', 'pipe', 'inherit', 'ipc'] },
    );
    this.#lines = createInterface({ input: this.#process.stdout! })[Symbol.asyncIterator]();
  }

  async next<T>(): Promise<T> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error('a process of the bench ended');
    return JSON.parse(value) as T;
  }

  async ask<T>(word: string): Promise<T> {
    this.send(word);
    return await this.next<T>();
  }

  send(word: string): void {
    this.#process.stdin!.write(`${word}\n`);
  }

  close(): void {
    this.#process.kill('SIGKILL');
  }
}

interface SyncerReport {
  readonly cpuShare: number;
  readonly rssBytes: number;
  readonly elapsedMs: number;
  readonly entries: number;
  readonly pulses: number;
  readonly claims: readonly { committed: number; judged?: number; merged?: number }[];
}
interface LearnersReport {
  readonly leaseMs: readonly number[];
  readonly requests: number;
  readonly refusals: Readonly<Record<string, number>>;
}

async function measure(load: Load, kind: 'nats' | 'websocket'): Promise<BenchRow[]> {
  const dir = await mkdtemp(join(tmpdir(), 'accrete-bench-'));
  const server = kind === 'nats' ? await NatsServer.start() : null;
  const children: Child[] = [];
  const start = (script: string, args: unknown): Child => {
    const child = new Child(script, args);
    children.push(child);
    return child;
  };
  try {
    const nats = server?.url ?? null;
    const syncer = start('bus-syncer.ts', { dir, nats, learners: load.learners });
    const { url, run } = await syncer.next<{ url: string; run: string }>();
    const { heartbeatMs, claimMs } = load;
    const startLearners = (role: 'miner' | 'validator' | 'probe', label: string, count: number): Child =>
      start('bus-learners.ts', {
        ...{
          dir,
          url,
          run,
          nats,
          role,
          label,
          count,
          claimMs,
          heartbeatMs: role === 'validator' ? 1_000 : heartbeatMs,
        },
      });
    const validators = ['v', 'w'].map((label) => startLearners('validator', label, 1));
    for (const validator of validators) await validator.next();
    const miners: Child[] = [];
    for (let left = load.learners; left > 0; left -= learnersEach)
      miners.push(startLearners('miner', `m${miners.length}`, Math.min(left, learnersEach)));
    for (const miner of miners) await miner.next();
    const probe = startLearners('probe', 'p', 1);
    await probe.next();
    await sleep(load.warmMs);
    syncer.send('reset');
    for (const child of [...miners, probe]) await child.ask('report');
    await sleep(load.measureMs);
    const reports = await Promise.all(miners.map((miner) => miner.ask<LearnersReport>('report')));
    const probed = await probe.ask<LearnersReport>('report');
    return rowsOf(load, kind, await syncer.ask<SyncerReport>('report'), { miners: reports, probed });
  } finally {
    for (const child of children) child.close();
    await server?.close();
    await rm(dir, { recursive: true, force: true });
  }
}

const latency = (values: readonly number[]): string =>
  values.length === 0 ? 'none' : `${percentile(values, 0.5).toFixed(0)} / ${percentile(values, 0.99).toFixed(0)} ms`;

function rowsOf(
  load: Load,
  kind: string,
  syncer: SyncerReport,
  { miners: reports, probed }: { readonly miners: readonly LearnersReport[]; readonly probed: LearnersReport },
): BenchRow[] {
  const seconds = syncer.elapsedMs / 1_000;
  const requests = reports.reduce((sum, report) => sum + report.requests, 0);
  const judged = syncer.claims.flatMap(({ committed, judged }) => (judged === undefined ? [] : [judged - committed]));
  const merged = syncer.claims.flatMap(({ committed, merged }) => (merged === undefined ? [] : [merged - committed]));
  const leases = reports.flatMap(({ leaseMs }) => leaseMs);
  const refusals = JSON.stringify(Object.assign({}, ...reports.map((report) => report.refusals)));
  const what = `${load.learners} learners, ${kind}`;
  return [
    {
      what: `${what}: messages`,
      value: `${(requests / seconds).toFixed(1)}/s`,
      detail: `${(syncer.entries / seconds).toFixed(1)} entries/s, ${syncer.claims.length} claims, ${merged.length} merged in ${seconds.toFixed(0)} s; refused ${refusals.slice(0, 160)}`,
    },
    {
      what: `${what}: p50 / p99`,
      value: `lease ${latency(probed.leaseMs)}`,
      detail: `of a learner with its own machine (${probed.leaseMs.length}); of those that share this one ${latency(leases)}; verdict ${latency(judged)}; merge ${latency(merged)}`,
    },
    {
      what: `${what}: orchestrator`,
      value: `${(100 * syncer.cpuShare).toFixed(1)} % of a core`,
      detail: `${((1_000 * seconds * syncer.cpuShare) / syncer.entries).toFixed(1)} ms of it an entry, ${(syncer.rssBytes / 2 ** 20).toFixed(0)} MiB, heartbeats of ${syncer.pulses}`,
    },
  ];
}
