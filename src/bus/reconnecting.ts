/**
 * @file A bus over one connection to a hub that may break: connects again with jittered back-off, and then subscribes and
 * responds again. What was under way when the connection broke fails with `CLOSED`; it may or may not have been done.
 */
import { type Log, type Metrics, silentLog, silentMetrics } from '../util/clock.ts';
import { withDeadline } from './deadline.ts';
import { BusError } from './errors.ts';
import { closedError, InProcessBus } from './in-process.ts';
import { checkPayload, checkTopic } from './limits.ts';
import type { IncomingCall, Link, LinkOptions } from './link.ts';
import type { Bus, Responder, Subscription } from './port.ts';

export interface ReconnectOptions {
  readonly minBackoffMs?: number;
  readonly maxBackoffMs?: number;
  /** In [0, 1): spreads the attempts of many peers. */
  readonly random?: () => number;
  readonly log?: Log;
  readonly metrics?: Metrics;
}

export interface Connection {
  readonly link: Link;
  close(): Promise<void>;
}
export type ConnectionHandlers = Pick<LinkOptions, 'onCall' | 'onDeliver'> & { readonly onEnd: () => void };
/** Makes one connection; rejects with BusError `UNREACHABLE`. */
export type Connect = (handlers: ConnectionHandlers) => Promise<Connection>;

/** Limit of the bus's own small calls (subscribe and the like). */
const callTimeoutMs = 10_000;

export class ReconnectingBus implements Bus {
  readonly #connect: Connect;
  readonly #options: ReconnectOptions;
  readonly #log: Log;
  readonly #metrics: Metrics;
  /** What this process subscribes to and answers; the hub's messages are replayed into it. */
  readonly #local: InProcessBus;
  readonly #subscribed = new Map<string, { handlers: number; ready: Promise<void> }>();
  readonly #responding = new Set<string>();
  readonly #closing = new AbortController();
  #connection: Connection | null = null;
  #connecting: Promise<void> = Promise.resolve();

  constructor(connect: Connect, options: ReconnectOptions = {}) {
    this.#connect = connect;
    this.#options = options;
    this.#log = options.log ?? silentLog;
    this.#metrics = options.metrics ?? silentMetrics;
    this.#local = new InProcessBus({ log: this.#log, metrics: this.#metrics });
  }

  get connected(): boolean {
    return this.#connection !== null && !this.#closing.signal.aborted;
  }

  /** Makes the first connection, once; `UNREACHABLE` if it fails. */
  async start(): Promise<void> {
    await this.#open();
  }

  async publish(topic: string, payload: string): Promise<void> {
    checkTopic(topic);
    checkPayload(topic, payload);
    await this.#link(topic).call('publish', topic, payload, { timeoutMs: callTimeoutMs });
  }

  /** While the connection is broken, waits for the next one within the time limit; then `CLOSED`. */
  async request(
    topic: string,
    payload: string,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<string> {
    checkTopic(topic);
    checkPayload(topic, payload);
    if (this.#closing.signal.aborted) throw closedError(topic);
    const startedAtMs = performance.now();
    if (this.#connection === null) await this.#untilConnected(topic, options);
    const leftMs = Math.max(1, options.timeoutMs - (performance.now() - startedAtMs));
    return this.#link(topic).call('request', topic, payload, { timeoutMs: leftMs, signal: options.signal });
  }

  async subscribe(topic: string, handler: (payload: string) => void): Promise<Subscription> {
    checkTopic(topic);
    if (this.#closing.signal.aborted) throw closedError(topic);
    const local = await this.#local.subscribe(topic, handler);
    const entry = this.#subscribed.get(topic) ?? { handlers: 0, ready: this.#announce('subscribe', topic) };
    this.#subscribed.set(topic, entry);
    entry.handlers++;
    const close = async () => {
      await local.close();
      if (--entry.handlers > 0 || this.#subscribed.get(topic) !== entry) return;
      this.#subscribed.delete(topic);
      await this.#withdraw('unsubscribe', topic);
    };
    try {
      await entry.ready;
    } catch (error) {
      await close();
      throw error;
    }
    return { close: once(close) };
  }

  async respond(topic: string, responder: Responder): Promise<Subscription> {
    checkTopic(topic);
    if (this.#closing.signal.aborted) throw closedError(topic);
    const local = await this.#local.respond(topic, responder);
    try {
      await this.#announce('respond', topic);
    } catch (error) {
      await local.close();
      throw error;
    }
    this.#responding.add(topic);
    return {
      close: once(async () => {
        await local.close();
        this.#responding.delete(topic);
        await this.#withdraw('unrespond', topic);
      }),
    };
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(closedError('bus'));
    const connection = this.#connection;
    this.#connection = null;
    connection?.link.end();
    await this.#local.close();
    await connection?.close();
    await this.#connecting;
  }

  #link(topic: string): Link {
    if (this.#connection === null) throw closedError(topic);
    return this.#connection.link;
  }

  /** Tells the hub; if the connection breaks meanwhile, the next one tells it. */
  async #announce(operation: 'subscribe' | 'respond', topic: string): Promise<void> {
    try {
      await this.#connection?.link.call(operation, topic, '', { timeoutMs: callTimeoutMs });
    } catch (error) {
      if (!(error instanceof BusError && error.code === 'CLOSED') || this.#closing.signal.aborted) throw error;
    }
  }

  /** The hub forgets by itself when the connection goes, so a failure here loses nothing. */
  async #withdraw(operation: 'unsubscribe' | 'unrespond', topic: string): Promise<void> {
    try {
      await this.#connection?.link.call(operation, topic, '', { timeoutMs: callTimeoutMs });
    } catch (error) {
      this.#metrics.count('bus_withdraw_errors_total');
      this.#log.debug('bus topic could not be given back', { topic, reason: (error as Error).message });
    }
  }

  async #open(): Promise<void> {
    let ended = false;
    let current: Connection | null = null;
    const connection = await this.#connect({
      onCall: (call) => this.#answer(call),
      onDeliver: (topic, payload) => void this.#local.publish(topic, payload).catch(() => undefined),
      onEnd: () => {
        ended = true;
        if (current === null || this.#connection !== current) return;
        this.#connection = null;
        this.#connecting = this.#reconnect();
      },
    });
    if (this.#closing.signal.aborted) return connection.close();
    try {
      for (const topic of this.#subscribed.keys()) {
        await connection.link.call('subscribe', topic, '', { timeoutMs: callTimeoutMs });
      }
      if (ended || this.#closing.signal.aborted) throw closedError('bus');
    } catch (error) {
      await connection.close();
      throw error;
    }
    current = this.#connection = connection;
    for (const topic of this.#responding) void this.#respondAgain(connection, topic);
  }

  /** The hub may still hold our old, silently broken connection: `TAKEN` goes away with it. */
  async #respondAgain(connection: Connection, topic: string): Promise<void> {
    while (this.#connection === connection && this.#responding.has(topic)) {
      try {
        await connection.link.call('respond', topic, '', { timeoutMs: callTimeoutMs });
        return;
      } catch (error) {
        this.#log.warn('bus topic is not answered yet', { topic, reason: (error as Error).message });
        await pause(this.#options.minBackoffMs ?? 200, this.#closing.signal);
      }
    }
  }

  async #reconnect(): Promise<void> {
    const { minBackoffMs = 200, maxBackoffMs = 5_000, random = Math.random } = this.#options;
    this.#log.warn('bus connection lost; connecting again');
    for (let attempt = 0; !this.#closing.signal.aborted; attempt++) {
      const backoffMs = Math.min(maxBackoffMs, minBackoffMs * 2 ** Math.min(attempt, 20));
      await pause(backoffMs * (0.5 + 0.5 * random()), this.#closing.signal);
      if (this.#closing.signal.aborted) return;
      try {
        await this.#open();
        this.#metrics.count('bus_reconnects_total');
        this.#log.info('bus connected again', { attempts: attempt + 1 });
        return;
      } catch (error) {
        this.#log.debug('bus still unreachable', { attempt, reason: (error as Error).message });
      }
    }
  }

  async #untilConnected(
    topic: string,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<void> {
    try {
      await withDeadline({ ...options, what: topic }, async (signal) => {
        while (this.#connection === null && !signal.aborted && !this.#closing.signal.aborted) await pause(20, signal);
      });
    } catch (error) {
      if (error instanceof BusError && error.code === 'TIMEOUT') throw closedError(topic);
      throw error;
    }
  }

  async #answer(call: IncomingCall): Promise<string> {
    if (call.operation !== 'request') throw new BusError('FORBIDDEN', `a peer is not asked to ${call.operation}`);
    return this.#local.request(call.topic, call.payload, { timeoutMs: call.timeoutMs, signal: call.signal });
  }
}

function once(work: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | null = null;
  return () => (done ??= work());
}

/** Waits; ends early, without an error, when the signal is aborted. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end);
  });
}
