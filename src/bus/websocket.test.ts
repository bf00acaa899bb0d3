/** @file The contract of the bus over WebSocket, and what only a network can do wrong. */
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { testBus, until } from '../../tests/contracts/bus.ts';
import { busSubprotocol, encodeFrame } from './frames.ts';
import { InProcessBus } from './in-process.ts';
import type { Bus } from './port.ts';
import { type BusServer, busUrlOf, connectBus, type ServeBusOptions, serveBus } from './websocket.ts';

const openAccess = { mayPublish: () => true, mayRespond: () => true };
const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Hub {
  readonly hub: InProcessBus;
  readonly http: Server;
  readonly served: BusServer;
  readonly url: string;
  readonly port: number;
  stop(): Promise<void>;
}

async function startHub(options: Partial<ServeBusOptions> & { readonly port?: number } = {}): Promise<Hub> {
  const http = createServer();
  const hub = new InProcessBus();
  const served = serveBus(http, hub, { access: openAccess, ...options });
  await new Promise<void>((resolve) => http.listen(options.port ?? 0, '127.0.0.1', resolve));
  const { port } = http.address() as AddressInfo;
  let stopping: Promise<void> | null = null;
  const stop = () =>
    (stopping ??= (async () => {
      await served.close();
      await hub.close();
      http.closeAllConnections();
      await new Promise<void>((resolve) => http.close(() => resolve()));
    })());
  cleanups.push(stop);
  return { hub, http, served, url: `http://127.0.0.1:${port}`, port, stop };
}

async function connectTo(url: string): Promise<Bus> {
  const bus = await connectBus(url, { minBackoffMs: 5, maxBackoffMs: 20, connectTimeoutMs: 2_000 });
  cleanups.push(() => bus.close());
  return bus;
}

testBus('hub and peer over WebSocket', async () => {
  const { hub, url, stop } = await startHub();
  const peer = await connectTo(url);
  return {
    a: hub,
    b: peer,
    close: async () => {
      await peer.close();
      await stop();
    },
  };
});

testBus('two peers over WebSocket', async () => {
  const { url, stop } = await startHub();
  const a = await connectTo(url);
  const b = await connectTo(url);
  return {
    a,
    b,
    close: async () => {
      await a.close();
      await b.close();
      await stop();
    },
  };
});

describe('bus over WebSocket', () => {
  it('subscribes and answers again after the server was restarted', async () => {
    const first = await startHub();
    const peer = await connectTo(first.url);
    const seen: string[] = [];
    await peer.subscribe('news', (payload) => seen.push(payload));
    await peer.respond('echo', async (payload) => payload);
    await first.hub.publish('news', 'before');
    await until(() => seen.length === 1, 'the message before the restart');
    await first.stop();
    await until(() => !peer.connected, 'the loss');
    await expect(peer.publish('news', '')).rejects.toMatchObject({ code: 'CLOSED', retryable: true });

    const asked = peer.request('late', 'x', { timeoutMs: 5_000 });
    const second = await startHub({ port: first.port });
    await second.hub.respond('late', async () => 'answered after the restart');
    expect(await asked).toBe('answered after the restart');
    expect(peer.connected).toBe(true);
    await second.hub.publish('news', 'after');
    await until(() => seen.length === 2, 'the message after the restart');
    expect(seen).toEqual(['before', 'after']);
    let reply = '';
    const ask = async () => {
      reply = await second.hub.request('echo', 'again', { timeoutMs: 500 }).catch(() => '');
    };
    await ask();
    await until(() => {
      if (reply === '') void ask();
      return reply === 'again';
    }, 'the responder');
  });

  it('a request in work when the server goes: CLOSED; with no server for the whole limit: CLOSED', async () => {
    const server = await startHub();
    const peer = await connectTo(server.url);
    await server.hub.respond('slow', () => new Promise(() => undefined));
    const waiting = expect(peer.request('slow', '', { timeoutMs: 10_000 })).rejects.toMatchObject({ code: 'CLOSED' });
    await new Promise((resolve) => setTimeout(resolve, 20));
    await server.stop();
    await waiting;
    await expect(peer.request('slow', '', { timeoutMs: 40 })).rejects.toMatchObject({
      code: 'CLOSED',
      retryable: true,
    });
  });

  it('what a peer held is free when it goes', async () => {
    const { hub, url, served } = await startHub();
    const peer = await connectTo(url);
    await peer.respond('mine', async () => 'here');
    const waiting = hub.request('mine', '', { timeoutMs: 1_000 });
    expect(await waiting).toBe('here');
    await peer.close();
    await until(() => served.peerCount === 0, 'the goodbye');
    const responder = await hub.respond('mine', async () => 'other');
    await responder.close();
  });

  it('keeps remote peers off the topics of this process', async () => {
    const access = {
      mayPublish: (topic: string) => topic.startsWith('claims.'),
      mayRespond: () => false,
      maySubscribe: (topic: string) => topic !== 'private',
      mayRequest: (topic: string) => topic !== 'private',
    };
    const { hub, url } = await startHub({ access });
    const peer = await connectTo(url);
    await hub.respond('private', async () => 'secret');
    const forbidden = { code: 'FORBIDDEN' };
    await expect(peer.publish('ledger.blocks', '')).rejects.toMatchObject(forbidden);
    await expect(peer.respond('ledger.head', async () => '')).rejects.toMatchObject(forbidden);
    await expect(peer.subscribe('private', () => undefined)).rejects.toMatchObject(forbidden);
    await expect(peer.request('private', '', { timeoutMs: 1_000 })).rejects.toMatchObject(forbidden);
    await peer.publish('claims.a', '');
    await peer.subscribe('news', () => undefined);
  });

  it('cuts off who sends what no peer sends', async () => {
    const { url, served } = await startHub({ maxFrameBytes: 4_096 });
    const bad: [string, string | Buffer][] = [
      ['no header', 'hello'],
      ['no JSON', 'hello\n'],
      ['unknown kind', '{"kind":"shutdown"}\n'],
      ['unknown field', '{"kind":"cancel","id":1,"admin":true}\n'],
      ['negative id', '{"kind":"cancel","id":-1}\n'],
      ['long wait', encodeFrame({ kind: 'call', id: 1, operation: 'request', topic: 'a', timeoutMs: 1e12 })],
      ['a delivery from a peer', encodeFrame({ kind: 'deliver', topic: 'news' }, 'x')],
      ['binary', Buffer.from('{}')],
      ['oversized frame', 'x'.repeat(5_000)],
    ];
    for (const [what, frame] of bad) {
      const socket = new WebSocket(busUrlOf(url), [busSubprotocol]);
      socket.on('error', () => undefined);
      await new Promise((resolve) => socket.once('open', resolve));
      const closed = new Promise((resolve) => socket.once('close', resolve));
      socket.send(frame);
      await closed.catch(() => undefined);
      await until(() => served.peerCount === 0, what);
    }
  });

  it('goes round several URLs: where one is gone, or hangs, the next one answers', async () => {
    const hanging = createTcpServer(() => {}); // as a frozen process: it takes connections and says nothing
    await new Promise<void>((resolve) => hanging.listen(0, '127.0.0.1', resolve));
    cleanups.push(async () => void hanging.close());
    const frozen = `http://127.0.0.1:${(hanging.address() as AddressInfo).port}`;
    const [first, second] = [await startHub(), await startHub()];
    await first.hub.respond('who', async () => 'first');
    await second.hub.respond('who', async () => 'second');
    const told: string[] = [];
    const peer = await connectBus([frozen, first.url, second.url], {
      ...{ minBackoffMs: 5, maxBackoffMs: 20, connectTimeoutMs: 200 },
      onConnected: (url) => told.push(url),
    });
    cleanups.push(() => peer.close());
    const heard: string[] = [];
    await peer.subscribe('news', (payload) => heard.push(payload));
    expect(await peer.request('who', '', { timeoutMs: 5_000 })).toBe('first');
    await first.stop();
    await until(() => peer.connected && told.length === 2, 'the other');
    expect(await peer.request('who', '', { timeoutMs: 5_000 })).toBe('second');
    await second.hub.publish('news', 'of the second');
    await until(() => heard.length === 1, 'the news');
    expect(told).toEqual([first.url, second.url]);
    await expect(connectBus([frozen], { connectTimeoutMs: 50 })).rejects.toMatchObject({ code: 'UNREACHABLE' });
  });

  it('limits the topics and the calls in work of one peer', async () => {
    const { hub, url } = await startHub({ maxTopicsPerPeer: 2 });
    const peer = await connectTo(url);
    await peer.subscribe('a', () => undefined);
    await peer.subscribe('b', () => undefined);
    await expect(peer.subscribe('c', () => undefined)).rejects.toMatchObject({ code: 'BUSY' });
    await hub.respond('slow', () => new Promise(() => undefined));
    const calls = Array.from({ length: 257 }, () =>
      peer.request('slow', '', { timeoutMs: 2_000 }).catch((e: unknown) => e),
    );
    const codes = (await Promise.all(calls)).map((error) => (error as { code: string }).code);
    expect(codes.filter((code) => code === 'BUSY')).toHaveLength(1);
  });

  it('a peer that does not read is cut off, not buffered for', async () => {
    const { hub, served, port } = await startHub({ maxBufferedBytes: 256 * 1024 });
    const silent = await rawPeer(port);
    silent.write(
      maskedText(encodeFrame({ kind: 'call', id: 0, operation: 'subscribe', topic: 'news', timeoutMs: 1_000 })),
    );
    silent.pause();
    await until(() => served.peerCount === 1, 'the peer');
    // Loopback sockets take some megabytes before they push back.
    for (let i = 0; i < 400 && served.peerCount > 0; i++) {
      await hub.publish('news', 'x'.repeat(100_000));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(served.peerCount).toBe(0);
  });

  it('finds a peer that vanished without a goodbye', async () => {
    const { served, port } = await startHub({ pingMs: 20 });
    await rawPeer(port); // Never answers a ping.
    await until(() => served.peerCount === 1, 'the peer');
    await until(() => served.peerCount === 0, 'its end');
  });

  it('refuses other paths and too many peers', async () => {
    const { url } = await startHub({ maxPeers: 1 });
    await expect(connectBus(`${url.replace('http', 'ws')}/other`)).rejects.toMatchObject({ code: 'UNREACHABLE' });
    await connectTo(url);
    await expect(connectBus(url)).rejects.toMatchObject({
      code: 'UNREACHABLE',
      message: expect.stringContaining('503'),
    });
  });

  it('says when nobody listens, and what a URL looks like', async () => {
    const { url, stop } = await startHub();
    await stop();
    await expect(connectBus(url)).rejects.toMatchObject({ code: 'UNREACHABLE', retryable: true });
    await expect(connectBus('localhost')).rejects.toMatchObject({ code: 'UNREACHABLE' });
    expect(busUrlOf('https://example.org/run/')).toBe('wss://example.org/run/bus');
    expect(busUrlOf('ws://127.0.0.1:1/bus')).toBe('ws://127.0.0.1:1/bus');
  });
});

/** A WebSocket client without a client: shakes hands and does nothing else. */
async function rawPeer(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => undefined);
  cleanups.push(() => void socket.destroy());
  socket.write(
    'GET /bus HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
      `Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ${busSubprotocol}\r\n\r\n`,
  );
  await new Promise((resolve) => socket.once('data', resolve));
  return socket;
}

/** One masked text frame of RFC 6455 (mask zero, payload under 64 KiB). */
function maskedText(text: string): Buffer {
  const payload = Buffer.from(text);
  const header = Buffer.from([0x81, 0x80 | 126, payload.length >> 8, payload.length & 255, 0, 0, 0, 0]);
  return Buffer.concat([header, payload]);
}
