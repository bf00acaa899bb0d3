/** @file Kept requests (100,000 by default) while server and responder are killed again and again: each must be answered, and noted once. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectNats, type NatsBus } from '../src/bus/nats/bus.ts';
import { NatsNames } from '../src/bus/nats/names.ts';
import { keptTopics, topics } from '../src/roles/client.ts';
import { NatsServer } from '../tests/support/nats-server.ts';
import { type BenchRow, percentile } from './measure.ts';

const [atOnce, senders] = [128, 8];
const [killServerEveryMs, killResponderEveryMs] = [12_000, 17_000];

export async function measureFaults(requestCount: number): Promise<BenchRow> {
  const server = await NatsServer.start();
  const file = join(server.dir, 'noted');
  const ending = new AbortController();
  const buses: NatsBus[] = [];
  let [responder, restarts] = [await startResponder(server, file), 0];
  const every = async (ms: number, kill: () => Promise<void>): Promise<void> => {
    while (!ending.signal.aborted) {
      await sleep(ms, undefined, { signal: ending.signal }).catch(() => undefined);
      if (ending.signal.aborted) return;
      await kill();
      restarts++;
    }
  };
  try {
    for (let i = 0; i < senders; i++)
      buses.push(
        await connectNats({
          ...{ servers: [server.url], names: new NatsNames('run', `sender${i}`), kept: keptTopics, isOwner: false },
          ...{ minBackoffMs: 20, maxBackoffMs: 500 },
        }),
      );
    const startedAt = performance.now();
    const killing = [
      every(killServerEveryMs, async () => {
        await server.kill();
        await server.restart();
      }),
      every(killResponderEveryMs, async () => {
        responder.kill('SIGKILL');
        responder = await startResponder(server, file);
      }),
    ];
    const times: number[] = [];
    let [next, wrong] = [0, 0];
    const lane = async (bus: NatsBus): Promise<void> => {
      while (next < requestCount) {
        const payload = `request ${next++}`;
        const askedAt = performance.now();
        if ((await insist(bus, payload)) !== `noted ${payload}`) wrong++;
        times.push(performance.now() - askedAt);
      }
    };
    await Promise.all(Array.from({ length: atOnce }, (_, i) => lane(buses[i % senders]!)));
    const seconds = (performance.now() - startedAt) / 1_000;
    ending.abort();
    await Promise.all(killing);
    const noted = readFileSync(file, 'utf8').trim().split('\n');
    const lost = requestCount - new Set(noted).size;
    return {
      what: `${requestCount.toLocaleString('en')} kept requests, NATS, ${restarts} kills`,
      value: `${lost} lost, ${noted.length - new Set(noted).size} twice, ${wrong} wrong`,
      detail: `${(requestCount / seconds).toFixed(0)}/s, ${atOnce} at once; answered in ${percentile(times, 0.5).toFixed(0)} / ${percentile(times, 0.99).toFixed(0)} ms (p50 / p99)`,
    };
  } finally {
    ending.abort();
    responder.kill('SIGKILL');
    for (const bus of buses) await bus.close();
    await server.close();
  }
}

async function insist(bus: NatsBus, payload: string): Promise<string> {
  for (;;) {
    try {
      return await bus.request(topics.submit, payload, { timeoutMs: 5_000, once: payload });
    } catch (error) {
      if ((error as { retryable?: boolean }).retryable !== true) throw error;
      await sleep(100);
    }
  }
}

async function startResponder(server: NatsServer, file: string): Promise<ChildProcess> {
  const program = join(import.meta.dirname, '../tests/support/nats-responder.ts');
  const start = (): ChildProcess =>
    spawn(process.execPath, ['--import', 'tsx', program, server.url, 'run', file], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  for (;;) {
    const child = start();
    const isReady = await new Promise<boolean>((resolve) => {
      child.stdout!.once('data', () => resolve(true));
      // The server may have been killed just then.
      child.once('exit', () => resolve(false));
    });
    if (isReady) return child;
    await sleep(200);
  }
}
