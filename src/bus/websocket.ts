/**
 * @file The bus over WebSocket. `serveBus` bridges remote peers to a bus of this process; `connectBus` is a peer. Topics
 * that only this process may use are kept by `access`; who sent a message is proved by its signature, not by its connection.
 */
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocket, WebSocketServer } from 'ws';
import { type Log, type Metrics, silentLog, silentMetrics } from '../util/clock.ts';
import { BusError } from './errors.ts';
import { busSubprotocol, maxFrameBytes } from './frames.ts';
import { type IncomingCall, Link } from './link.ts';
import type { Bus, Subscription } from './port.ts';
import { type Connection, type ConnectionHandlers, ReconnectingBus, type ReconnectOptions } from './reconnecting.ts';

/** What a remote peer may do; everything that is not allowed is answered with `FORBIDDEN`. */
export interface BusAccess {
  mayPublish(topic: string): boolean;
  mayRespond(topic: string): boolean;
  maySubscribe?(topic: string): boolean;
  mayRequest?(topic: string): boolean;
}

export interface ServeBusOptions {
  readonly access: BusAccess;
  readonly path?: string;
  readonly pingMs?: number;
  readonly maxPeers?: number;
  /** Subscriptions and responders of one peer together. */
  readonly maxTopicsPerPeer?: number;
  readonly maxBufferedBytes?: number;
  readonly maxFrameBytes?: number;
  readonly log?: Log;
  readonly metrics?: Metrics;
}

export interface BusServer {
  readonly peerCount: number;
  /** Cuts every peer off; the HTTP server and the bus behind stay. */
  close(): Promise<void>;
}

/** Takes WebSocket upgrades of `server` at `path` (`/bus`) and bridges them to `bus`. */
export function serveBus(server: Server, bus: Bus, options: ServeBusOptions): BusServer {
  const { path = '/bus', maxPeers = 10_000, log = silentLog, metrics = silentMetrics } = options;
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: options.maxFrameBytes ?? maxFrameBytes,
    perMessageDeflate: false,
    handleProtocols: (offered) => (offered.has(busSubprotocol) ? busSubprotocol : false),
  });
  const peers = new Set<WebSocket>();

  const onUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    if ((request.url ?? '').split('?')[0] !== path) return refuseUpgrade(socket, '404 Not Found');
    if (peers.size >= maxPeers) return refuseUpgrade(socket, '503 Service Unavailable');
    sockets.handleUpgrade(request, socket, head, (peer) => {
      peers.add(peer);
      metrics.gauge('bus_peers', peers.size);
      peer.on('close', () => {
        peers.delete(peer);
        metrics.gauge('bus_peers', peers.size);
      });
      bridgePeer(peer, bus, { ...options, log, metrics });
    });
  };
  server.on('upgrade', onUpgrade);
  return {
    get peerCount() {
      return peers.size;
    },
    close: async () => {
      server.off('upgrade', onUpgrade);
      for (const peer of peers) peer.terminate();
      sockets.close();
    },
  };
}

function refuseUpgrade(socket: Duplex, status: string): void {
  socket.on('error', () => undefined);
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}

/** Serves one peer until it goes; then everything that it held on the bus is given back. */
function bridgePeer(peer: WebSocket, bus: Bus, options: ServeBusOptions & { log: Log; metrics: Metrics }): void {
  const held = new PeerTopics(bus, options.access, options.maxTopicsPerPeer ?? 1_024);
  const link = new Link(peer, {
    onCall: (call) => held.serve(call, link),
    onDeliver: () => peer.terminate(), // Only the hub delivers.
    ...(options.maxBufferedBytes === undefined ? {} : { maxBufferedBytes: options.maxBufferedBytes }),
    log: options.log,
    metrics: options.metrics,
  });
  attach(peer, link, { pingMs: options.pingMs ?? 15_000, log: options.log });
  peer.on('close', () => void held.release());
}

/** The operations of one remote peer, checked against its access, and what it holds on the bus behind. */
class PeerTopics {
  readonly #bus: Bus;
  readonly #access: BusAccess;
  readonly #limit: number;
  readonly #held = new Map<string, Promise<Subscription>>();
  #released = false;

  constructor(bus: Bus, access: BusAccess, limit: number) {
    this.#bus = bus;
    this.#access = access;
    this.#limit = limit;
  }

  async serve(call: IncomingCall, link: Link): Promise<string> {
    const { operation, topic, payload, timeoutMs, signal } = call;
    this.#permit(call);
    switch (operation) {
      case 'publish':
        await this.#bus.publish(topic, payload);
        return '';
      case 'request':
        return this.#bus.request(topic, payload, { timeoutMs, signal });
      case 'subscribe':
        return this.#hold(`subscribe ${topic}`, () =>
          this.#bus.subscribe(topic, (message) => link.deliver(topic, message)),
        );
      case 'respond':
        return this.#hold(`respond ${topic}`, () =>
          this.#bus.respond(topic, (message, context) =>
            link.call('request', topic, message, { timeoutMs: Number.MAX_SAFE_INTEGER, signal: context.signal }),
          ),
        );
      case 'unsubscribe':
        return this.#drop(`subscribe ${topic}`);
      case 'unrespond':
        return this.#drop(`respond ${topic}`);
    }
  }

  async release(): Promise<void> {
    this.#released = true;
    await Promise.all([...this.#held.keys()].map((key) => this.#drop(key)));
  }

  #permit({ operation, topic }: IncomingCall): void {
    const access = this.#access;
    const allowed =
      operation === 'publish'
        ? access.mayPublish(topic)
        : operation === 'respond'
          ? access.mayRespond(topic)
          : operation === 'subscribe'
            ? (access.maySubscribe?.(topic) ?? true)
            : operation === 'request'
              ? (access.mayRequest?.(topic) ?? true)
              : true;
    if (!allowed) throw new BusError('FORBIDDEN', `${topic}: a remote peer may not ${operation} here`);
  }

  async #hold(key: string, take: () => Promise<Subscription>): Promise<string> {
    const present = this.#held.get(key);
    if (present !== undefined) {
      if (key.startsWith('respond ')) throw new BusError('TAKEN', 'this peer answers the topic already');
      await present;
      return '';
    }
    if (this.#held.size >= this.#limit) {
      throw new BusError('BUSY', `a peer may hold ${this.#limit} topics; close some first`);
    }
    const taking = take();
    this.#held.set(key, taking);
    try {
      await taking;
    } catch (error) {
      this.#held.delete(key);
      throw error;
    }
    if (this.#released) await this.#drop(key);
    return '';
  }

  async #drop(key: string): Promise<string> {
    const held = this.#held.get(key);
    this.#held.delete(key);
    // A subscription that failed was reported to who asked for it.
    const subscription = await held?.catch(() => undefined);
    await subscription?.close();
    return '';
  }
}

/** Joins a socket to its link: messages, end, and pings that find a peer which vanished without a goodbye. */
function attach(socket: WebSocket, link: Link, options: { readonly pingMs: number; readonly log: Log }): void {
  let heard = true;
  const pinging = setInterval(() => {
    if (socket.readyState === WebSocket.CONNECTING) return; // the handshake has a limit of its own
    if (!heard) return socket.terminate();
    heard = false;
    socket.ping();
  }, options.pingMs);
  pinging.unref();
  socket.on('pong', () => {
    heard = true;
  });
  socket.on('message', (data, isBinary) => {
    heard = true;
    if (isBinary) return socket.terminate();
    link.receive(data.toString());
  });
  // A 'close' always follows an 'error'.
  socket.on('error', (error) => options.log.debug('bus connection failed', { reason: error.message }));
  socket.on('close', () => {
    clearInterval(pinging);
    link.end();
  });
}

export interface ConnectBusOptions extends ReconnectOptions {
  readonly pingMs?: number;
  /** Limit of one handshake, and of the first connection. */
  readonly connectTimeoutMs?: number;
  /** Told which of several URLs answered, before the connection is used. */
  readonly onConnected?: (url: string) => void;
}

/**
 * Connects to a served bus (`http://host:port`, or a `ws://` URL with its path) and stays connected. Of several URLs one is
 * served at a time: each attempt goes round, beginning after the one that was lost. Fails with `UNREACHABLE` if the
 * first connection does not come about.
 */
export async function connectBus(url: string | readonly string[], options: ConnectBusOptions = {}): Promise<Bus> {
  const urls = typeof url === 'string' ? [url] : url;
  const addresses = urls.map(busUrlOf);
  let next = 0;
  const bus = new ReconnectingBus(async (handlers) => {
    let failure: unknown;
    for (let tried = 0; tried < urls.length; tried++) {
      const at = next;
      next = (next + 1) % urls.length;
      try {
        const connection = await connectTo(addresses[at]!, handlers, options);
        options.onConnected?.(urls[at]!);
        return connection;
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }, options);
  await bus.start();
  return bus;
}

function connectTo(address: string, handlers: ConnectionHandlers, options: ConnectBusOptions): Promise<Connection> {
  const { connectTimeoutMs = 10_000, pingMs = 15_000, log = silentLog } = options;
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(address, [busSubprotocol], {
      maxPayload: maxFrameBytes,
      perMessageDeflate: false,
      handshakeTimeout: connectTimeoutMs,
    });
    const link = new Link(socket, { ...handlers, log });
    attach(socket, link, { pingMs, log });
    socket.once('open', () => {
      socket.once('close', handlers.onEnd);
      resolve({ link, close: () => closeSocket(socket) });
    });
    socket.once('error', (cause) => {
      reject(
        new BusError(
          'UNREACHABLE',
          `${address}: no orchestrator answers there (${cause.message}); is it running, and is the URL right?`,
          { retryable: true, cause },
        ),
      );
    });
  });
}

/** Says goodbye; a peer that does not answer is cut off. */
function closeSocket(socket: WebSocket): Promise<void> {
  if (socket.readyState === WebSocket.CLOSED) return Promise.resolve();
  return new Promise((resolve) => {
    const limit = setTimeout(() => socket.terminate(), 1_000);
    socket.once('close', () => {
      clearTimeout(limit);
      resolve();
    });
    socket.close(1000);
  });
}

export function busUrlOf(url: string): string {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch (cause) {
    throw new BusError('UNREACHABLE', `expected a URL such as http://127.0.0.1:7600, got ${JSON.stringify(url)}`, {
      cause,
    });
  }
  parsed.protocol = parsed.protocol.replace(/^http/, 'ws');
  if (!/^wss?:$/.test(parsed.protocol)) {
    throw new BusError('UNREACHABLE', `${url}: expected http, https, ws or wss`);
  }
  if (!/^wss?:/.test(url)) parsed.pathname = `${parsed.pathname.replace(/\/$/, '')}/bus`;
  return parsed.href;
}
