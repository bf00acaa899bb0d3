/**
 * @file One bus made of two: the hub of this process, whose peers come by its own door, and a bus elsewhere. What is published goes to both,
 * both are listened to, and both are answered.
 */
import { type Log, type Metrics, silentLog, silentMetrics } from '../util/clock.ts';
import type { Bus, Replica, RequestOptions, Responder, Subscription } from './port.ts';

export interface JoinedBusOptions {
  readonly near: Bus;
  readonly far: Bus;
  /** Topics that the far bus gets by its replica. */
  readonly replicated: readonly string[];
  readonly log?: Log;
  readonly metrics?: Metrics;
}

export class JoinedBus implements Bus {
  readonly #options: JoinedBusOptions;

  constructor(options: JoinedBusOptions) {
    this.#options = options;
  }

  get connected(): boolean {
    return this.#options.near.connected && this.#options.far.connected;
  }

  get replica(): Replica {
    return this.#options.far.replica!;
  }

  /** The far bus may be away: its subscribers then hear nothing, as they would of their own connection's loss. */
  async publish(topic: string, payload: string): Promise<void> {
    const { near, far, replicated, log = silentLog, metrics = silentMetrics } = this.#options;
    await near.publish(topic, payload);
    if (replicated.includes(topic)) return;
    await far.publish(topic, payload).catch((error) => {
      metrics.count('bus_far_publish_errors_total', 1, { topic });
      log.debug('bus message was not published', { topic, error: String(error) });
    });
  }

  subscribe(topic: string, handler: (payload: string) => void): Promise<Subscription> {
    return this.#both((bus) => bus.subscribe(topic, handler));
  }

  /** Asks who answers in this process. */
  request(topic: string, payload: string, options: RequestOptions): Promise<string> {
    return this.#options.near.request(topic, payload, options);
  }

  respond(topic: string, responder: Responder): Promise<Subscription> {
    return this.#both((bus) => bus.respond(topic, responder));
  }

  async close(): Promise<void> {
    await this.#options.far.close();
    await this.#options.near.close();
  }

  /** Both or neither. */
  async #both(open: (bus: Bus) => Promise<Subscription>): Promise<Subscription> {
    const near = await open(this.#options.near);
    try {
      const far = await open(this.#options.far);
      return {
        close: async () => {
          await far.close();
          await near.close();
        },
      };
    } catch (error) {
      await near.close();
      throw error;
    }
  }
}
