/** @file The bus inside one process; also the hub that a server bridges its remote peers to. */
import { type Log, type Metrics, silentLog, silentMetrics } from '../util/clock.ts';
import { withDeadline } from './deadline.ts';
import { BusError, toBusError } from './errors.ts';
import { checkPayload, checkTopic } from './limits.ts';
import type { Bus, Responder, Subscription } from './port.ts';

export interface InProcessBusOptions {
  readonly log?: Log;
  readonly metrics?: Metrics;
}

type Handler = (payload: string) => void;

export class InProcessBus implements Bus {
  readonly #log: Log;
  readonly #metrics: Metrics;
  readonly #subscribers = new Map<string, Set<{ readonly handler: Handler }>>();
  readonly #responders = new Map<string, { readonly responder: Responder }>();
  readonly #pending = new Set<() => void>();
  #closed = false;

  constructor(options: InProcessBusOptions = {}) {
    this.#log = options.log ?? silentLog;
    this.#metrics = options.metrics ?? silentMetrics;
  }

  get connected(): boolean {
    return !this.#closed;
  }

  async publish(topic: string, payload: string): Promise<void> {
    this.#check(topic, payload);
    const present = [...(this.#subscribers.get(topic) ?? [])];
    // Not in the publisher's stack: a handler that publishes would otherwise reorder what others see.
    queueMicrotask(() => {
      for (const subscriber of present) {
        if (this.#subscribers.get(topic)?.has(subscriber)) this.#deliver(topic, subscriber.handler, payload);
      }
    });
  }

  async subscribe(topic: string, handler: Handler): Promise<Subscription> {
    this.#check(topic, '');
    const subscriber = { handler };
    const present = this.#subscribers.get(topic) ?? new Set();
    this.#subscribers.set(topic, present.add(subscriber));
    return {
      close: async () => {
        present.delete(subscriber);
        if (present.size === 0 && this.#subscribers.get(topic) === present) this.#subscribers.delete(topic);
      },
    };
  }

  async request(
    topic: string,
    payload: string,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<string> {
    this.#check(topic, payload);
    const entry = this.#responders.get(topic);
    if (entry === undefined) {
      throw new BusError('NO_RESPONDER', `${topic}: nobody answers this topic now; try again`, { retryable: true });
    }
    return withDeadline({ ...options, what: topic }, (signal) => this.#answer(topic, entry.responder, payload, signal));
  }

  async respond(topic: string, responder: Responder): Promise<Subscription> {
    this.#check(topic, '');
    if (this.#responders.has(topic)) {
      throw new BusError('TAKEN', `${topic}: another responder answers this topic; close it first`);
    }
    const entry = { responder };
    this.#responders.set(topic, entry);
    return {
      close: async () => {
        if (this.#responders.get(topic) === entry) this.#responders.delete(topic);
      },
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const fail of this.#pending) fail();
    this.#subscribers.clear();
    this.#responders.clear();
  }

  /** Ends with the responder, or when this bus closes, or quietly when the caller has given up. */
  async #answer(topic: string, responder: Responder, payload: string, signal: AbortSignal): Promise<string> {
    let fail: () => void = () => undefined;
    const closed = new Promise<never>((_, reject) => {
      fail = () => reject(closedError(topic));
      this.#pending.add(fail);
      signal.addEventListener('abort', fail, { once: true });
    });
    try {
      const reply = await Promise.race([responder(payload, { signal }), closed]);
      checkPayload(topic, reply);
      return reply;
    } catch (error) {
      const known = toBusError(error);
      if (known.code === 'INTERNAL') this.#log.error('bus responder failed', { topic, error });
      throw known;
    } finally {
      this.#pending.delete(fail);
    }
  }

  #deliver(topic: string, handler: Handler, payload: string): void {
    try {
      handler(payload);
    } catch (error) {
      this.#metrics.count('bus_handler_errors_total', 1, { topic });
      this.#log.error('bus subscriber failed', { topic, error });
    }
  }

  #check(topic: string, payload: string): void {
    checkTopic(topic);
    if (!this.connected) throw closedError(topic);
    checkPayload(topic, payload);
  }
}

export function closedError(topic: string): BusError {
  return new BusError('CLOSED', `${topic}: the bus is closed; try again once it is connected`, { retryable: true });
}
