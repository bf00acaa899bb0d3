/** @file The proxy passes a bus and HTTP on as they are, and under each fault every request is still answered rightly. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { InProcessBus } from '../../../bus/in-process.ts';
import type { Bus } from '../../../bus/port.ts';
import { connectBus, serveBus } from '../../../bus/websocket.ts';
import { FaultyProxy } from './faulty-proxy.ts';

let server: Server;
let proxy: FaultyProxy;
let peer: Bus;
const closing: (() => Promise<unknown>)[] = [];

beforeEach(async () => {
  server = createServer((request, response) => response.end(`${request.method} ${request.url}`));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const bus = new InProcessBus();
  await bus.respond('echo', async (payload) => `echo of ${payload}`);
  const served = serveBus(server, bus, { access: { mayPublish: () => true, mayRespond: () => false } });
  proxy = await FaultyProxy.open((server.address() as AddressInfo).port);
  peer = await connectBus(proxy.url, { minBackoffMs: 1, maxBackoffMs: 10 });
  closing.push(
    () => new Promise((resolve) => server.close(resolve)),
    () => served.close(),
    () => proxy.close(),
    () => peer.close(),
  );
});

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** As a role asks: again while the failure is retryable. */
async function ask(payload: string): Promise<string> {
  for (;;) {
    try {
      return await peer.request('echo', payload, { timeoutMs: 10_000 });
    } catch (error) {
      if ((error as { retryable?: boolean }).retryable !== true) throw error;
    }
  }
}

const questions = Array.from({ length: 8 }, (_, i) => `question ${i}`);
const answers = questions.map((question) => `echo of ${question}`);

describe('FaultyProxy', () => {
  it('passes requests on', async () => {
    expect(await Promise.all(questions.map(ask))).toEqual(answers);
    expect(await (await fetch(`${proxy.url}/a?b=c`, { method: 'POST', body: 'x' })).text()).toBe('POST /a?b=c');
  });

  for (const fault of ['delay', 'duplicate', 'reorder'] as const)
    it(`answers every request rightly under ${fault}`, async () => {
      proxy.disturb(fault, 1_500);
      expect(await Promise.all(questions.map(ask))).toEqual(answers);
    });

  it('cuts connections, and takes new ones', async () => {
    const first = Promise.all(questions.map(ask));
    proxy.drop();
    expect(await first).toEqual(answers);
  });
});
