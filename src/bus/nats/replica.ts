/**
 * @file Logs on JetStream: a stream a log, so that a message's place is its sequence less one. Readers get single messages by sequence from
 * the server that they are connected to, which takes no consumer and no right to make one.
 */
import { createHash } from 'node:crypto';
import { DiscardPolicy, type JetStreamClient, type JetStreamManager, StorageType } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { BusError } from '../errors.ts';
import { checkPayload } from '../limits.ts';
import type { Replica } from '../port.ts';
import { asBusError } from './errors.ts';
import { answerKeepMs, natsPayloadBytes } from './limits.ts';
import type { NatsNames } from './names.ts';

const requestTimeoutMs = 5_000;
/** Single reads that are under way at once. */
const readsAtOnce = 64;
const sequenceHeader = 'Nats-Sequence';

export const nanosOf = (ms: number): number => ms * 1_000_000;

/** Of the owner of the run: makes the stream if it is not there. */
export async function ensureLog(jsm: JetStreamManager, names: NatsNames, topic: string): Promise<void> {
  await jsm.streams.add({
    name: names.logStream(topic),
    subjects: [names.log(topic)],
    storage: StorageType.File,
    discard: DiscardPolicy.New,
    allow_direct: true,
    deny_delete: true,
    deny_purge: true,
    duplicate_window: nanosOf(answerKeepMs),
  });
}

export class NatsReplica implements Replica {
  readonly #nc: NatsConnection;
  readonly #js: JetStreamClient;
  readonly #names: NatsNames;

  constructor(nc: NatsConnection, js: JetStreamClient, names: NatsNames) {
    this.#nc = nc;
    this.#js = js;
    this.#names = names;
  }

  async size(topic: string): Promise<number> {
    const last = await this.#get(topic, { last_by_subj: this.#names.log(topic) });
    return last?.sequence ?? 0;
  }

  async append(topic: string, at: number, payload: string): Promise<void> {
    checkPayload(topic, payload, natsPayloadBytes);
    // Of the place and the bytes: what was stored although its answer was lost is known again, another's message is not.
    const msgID = createHash('sha256').update(`${at}\n${payload}`).digest('hex');
    try {
      const ack = await this.#js.publish(this.#names.log(topic), payload, { msgID, expect: { lastSequence: at } });
      if (ack.seq !== at + 1)
        throw new BusError('OUT_OF_PLACE', `${topic}: expected message ${at} at its place, got ${ack.seq - 1}`);
    } catch (error) {
      throw asBusError(topic, error);
    }
  }

  async read(topic: string, from: number, limit: number): Promise<readonly string[]> {
    const messages: string[] = [];
    // Most reads are of a log that has nothing new: one question tells that.
    for (let at = from, count = 1; at < from + limit; at += count, count = Math.min(readsAtOnce, from + limit - at)) {
      const places = Array.from({ length: count }, (_, i) => at + i);
      const page = await Promise.all(places.map((place) => this.#get(topic, { seq: place + 1 })));
      const end = page.findIndex((message, i) => message?.sequence !== at + i + 1);
      for (const message of end < 0 ? page : page.slice(0, end)) messages.push(message!.text);
      if (end >= 0) break;
    }
    return messages;
  }

  /** Null where there is none. */
  async #get(
    topic: string,
    query: { readonly seq: number } | { readonly last_by_subj: string },
  ): Promise<{ readonly sequence: number; readonly text: string } | null> {
    const subject = `$JS.API.DIRECT.GET.${this.#names.logStream(topic)}`;
    try {
      const reply = await this.#nc.request(subject, JSON.stringify(query), { timeout: requestTimeoutMs });
      if (reply.headers?.code === 404) return null;
      const sequence = Number(reply.headers?.get(sequenceHeader));
      if (!Number.isSafeInteger(sequence) || sequence < 1)
        throw new BusError('INTERNAL', `${topic}: the server gave no numbered message (${reply.headers?.description})`);
      return { sequence, text: reply.string() };
    } catch (error) {
      throw asBusError(topic, error);
    }
  }
}
