/** @file One responder a topic: who answers is noted in a bucket, and holds as long as he is connected. */
import { JetStreamApiCodes, JetStreamApiError } from '@nats-io/jetstream';
import type { KV } from '@nats-io/kv';
import { type NatsConnection, NoRespondersError, RequestError } from '@nats-io/transport-node';
import { BusError } from '../errors.ts';
import { asBusError } from './errors.ts';
import { type NatsNames, subjectOf } from './names.ts';

const aliveTimeoutMs = 1_000;

export class TakenTopics {
  readonly #nc: NatsConnection;
  readonly #names: NatsNames;
  readonly #bucket: KV;
  /** Of this process. */
  readonly #instance: string;

  private constructor(nc: NatsConnection, names: NatsNames, bucket: KV, instance: string) {
    this.#nc = nc;
    this.#names = names;
    this.#bucket = bucket;
    this.#instance = instance;
  }

  static async open(nc: NatsConnection, names: NatsNames, bucket: KV, instance: string): Promise<TakenTopics> {
    nc.subscribe(names.alive(instance), { callback: (error, message) => void (error === null && message.respond('')) });
    await nc.flush();
    return new TakenTopics(nc, names, bucket, instance);
  }

  /** Gives what frees it. @throws BusError TAKEN */
  async take(topic: string): Promise<() => Promise<void>> {
    const key = subjectOf(topic);
    let revision: number;
    try {
      revision = await this.#bucket.create(key, this.#instance);
    } catch (error) {
      if (!isTaken(error)) throw asBusError(topic, error);
      revision = await this.#takeOver(topic, key);
    }
    return async () => {
      // Who has taken it meanwhile keeps it.
      await this.#bucket.delete(key, { previousSeq: revision }).catch(() => undefined);
    };
  }

  /** Of a responder that is no longer connected; of two who try, one gets it. */
  async #takeOver(topic: string, key: string): Promise<number> {
    const entry = await this.#bucket.get(key);
    const holder = entry?.operation === 'PUT' ? entry.string() : '';
    if (holder === this.#instance || (holder !== '' && (await this.#isAlive(holder)))) throw takenError(topic);
    try {
      return await this.#bucket.update(key, this.#instance, entry?.revision ?? 0);
    } catch (error) {
      throw isTaken(error) ? takenError(topic) : asBusError(topic, error);
    }
  }

  async #isAlive(instance: string): Promise<boolean> {
    try {
      await this.#nc.request(this.#names.alive(instance), '', { timeout: aliveTimeoutMs });
      return true;
    } catch (error) {
      const isAway =
        error instanceof NoRespondersError ||
        (error instanceof RequestError && error.cause instanceof NoRespondersError);
      return !isAway;
    }
  }
}

const isTaken = (error: unknown): boolean =>
  error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamWrongLastSequence;

const takenError = (topic: string): BusError =>
  new BusError('TAKEN', `${topic}: another responder answers this topic; close it first`);
