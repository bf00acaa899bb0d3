/**
 * @file One responder a topic: who answers is noted in a bucket, and holds as long as he is connected; of processes that were elected, one
 * of a later term takes it from one of an earlier term, who may be frozen or cut off, and does not know it yet.
 */
import { JetStreamApiCodes, JetStreamApiError } from '@nats-io/jetstream';
import type { KV } from '@nats-io/kv';
import { type NatsConnection, NoRespondersError, RequestError } from '@nats-io/transport-node';
import { BusError } from '../errors.ts';
import { asBusError } from './errors.ts';
import { type NatsNames, subjectOf } from './names.ts';

const aliveTimeoutMs = 1_000;

export interface Taken {
  /** From another process, which gave nothing back. */
  readonly isTakenOver: boolean;
  free(): Promise<void>;
}

interface Holder {
  readonly instance: string;
  /** 0: of one who was not elected. */
  readonly term: number;
}

export class TakenTopics {
  readonly #nc: NatsConnection;
  readonly #names: NatsNames;
  readonly #bucket: KV;
  /** This process. */
  readonly #self: Holder;

  private constructor(nc: NatsConnection, names: NatsNames, bucket: KV, self: Holder) {
    this.#nc = nc;
    this.#names = names;
    this.#bucket = bucket;
    this.#self = self;
  }

  static async open(nc: NatsConnection, names: NatsNames, bucket: KV, self: Holder): Promise<TakenTopics> {
    nc.subscribe(names.alive(self.instance), {
      callback: (error, message) => void (error === null && message.respond('')),
    });
    await nc.flush();
    return new TakenTopics(nc, names, bucket, self);
  }

  /** @throws BusError TAKEN */
  async take(topic: string): Promise<Taken> {
    const key = subjectOf(topic);
    let revision: number;
    let isTakenOver = false;
    try {
      revision = await this.#bucket.create(key, encode(this.#self));
    } catch (error) {
      if (!isTaken(error)) throw asBusError(topic, error);
      revision = await this.#takeOver(topic, key);
      isTakenOver = true;
    }
    const free = async (): Promise<void> => {
      // Who has taken it meanwhile keeps it.
      await this.#bucket.delete(key, { previousSeq: revision }).catch(() => undefined);
    };
    return { isTakenOver, free };
  }

  /** Of a responder that is no longer connected, or of an earlier term; of two who try, one gets it. */
  async #takeOver(topic: string, key: string): Promise<number> {
    const entry = await this.#bucket.get(key);
    const holder = entry?.operation === 'PUT' ? decode(entry.string()) : null;
    if (holder !== null && !(await this.#mayTakeFrom(holder))) throw takenError(topic);
    try {
      return await this.#bucket.update(key, encode(this.#self), entry?.revision ?? 0);
    } catch (error) {
      throw isTaken(error) ? takenError(topic) : asBusError(topic, error);
    }
  }

  /** An orchestrator that was not elected is nobody's predecessor: it must have gone. */
  async #mayTakeFrom({ instance, term }: Holder): Promise<boolean> {
    if (instance === this.#self.instance) return false;
    return (term > 0 && term < this.#self.term) || !(await this.#isAlive(instance));
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

const encode = ({ instance, term }: Holder): string => (term === 0 ? instance : `${instance}.${term}`);

function decode(text: string): Holder {
  const [instance = '', term = '0'] = text.split('.');
  return { instance, term: Number(term) };
}

const isTaken = (error: unknown): boolean =>
  error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamWrongLastSequence;

const takenError = (topic: string): BusError =>
  new BusError('TAKEN', `${topic}: another responder answers this topic; close it first`);
