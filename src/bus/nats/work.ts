/**
 * @file Requests that are kept: stored once by name, given to the responder by a durable consumer that bounds what is in work, and
 * acknowledged only once the answer is stored. So a crash of the responder, of the requester or of the server loses no request, and
 * none is worked on again that has an answer.
 */
import { createHash, randomBytes } from 'node:crypto';
import {
  AckPolicy,
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamClient,
  type JetStreamManager,
  type JsMsg,
  RetentionPolicy,
  StorageType,
} from '@nats-io/jetstream';
import type { NatsConnection, Subscription as NatsSubscription } from '@nats-io/transport-node';
import type { Log, Metrics } from '../../util/clock.ts';
import { BusError, toBusError } from '../errors.ts';
import { decodeFrame, encodeFrame } from '../frames.ts';
import { checkPayload } from '../limits.ts';
import type { Responder, Subscription } from '../port.ts';
import { asBusError } from './errors.ts';
import { ackWaitMs, answerKeepMs, maxInFlight, maxWaiting, maxWaitingPerSender, natsPayloadBytes } from './limits.ts';
import type { NatsNames } from './names.ts';
import { nanosOf } from './replica.ts';

const requestTimeoutMs = 5_000;
const idHeader = 'Nats-Msg-Id';
const idPattern = /^[0-9a-f]{32}$/;
const retryMs = 500;

/** Of the owner of the run. */
export async function ensureWorkStreams(jsm: JetStreamManager, names: NatsNames): Promise<void> {
  await jsm.streams.add({
    name: names.workStream,
    subjects: [names.workSubjects],
    retention: RetentionPolicy.Workqueue,
    storage: StorageType.File,
    discard: DiscardPolicy.New,
    max_msgs: maxWaiting,
    // One who floods fills his own share only.
    max_msgs_per_subject: maxWaitingPerSender,
    discard_new_per_subject: true,
    duplicate_window: nanosOf(answerKeepMs),
  });
  await jsm.streams.add({
    name: names.answerStream,
    subjects: [names.answerSubjects],
    storage: StorageType.File,
    max_msgs_per_subject: 1,
    max_age: nanosOf(answerKeepMs),
    allow_direct: true,
    duplicate_window: nanosOf(answerKeepMs),
  });
}

export interface WorkParts {
  readonly nc: NatsConnection;
  readonly js: JetStreamClient;
  readonly names: NatsNames;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** An answer as it lies in the stream; null if there is none. */
async function storedAnswer({ nc, names }: WorkParts, id: string, sender: string): Promise<string | null> {
  const subject = `$JS.API.DIRECT.GET.${names.answerStream}.${names.answer(id, sender)}`;
  const reply = await nc.request(subject, '', { timeout: requestTimeoutMs });
  return reply.headers?.code === 404 ? null : reply.string();
}

/** The requester's end. */
export class WorkRequests {
  readonly #parts: WorkParts;
  readonly #waiting = new Map<string, (frame: string) => void>();
  /** Nobody else can name a request as ours is named, and have ours taken for its repetition. */
  readonly #salt = randomBytes(16);
  #listening: NatsSubscription | null = null;

  constructor(parts: WorkParts) {
    this.#parts = parts;
  }

  async ask(topic: string, payload: string, once: string | undefined, signal: AbortSignal): Promise<string> {
    const id = this.#idOf(topic, once);
    this.#listen();
    const answer = new Promise<string>((resolve) => this.#waiting.set(id, resolve));
    signal.addEventListener('abort', () => this.#waiting.delete(id), { once: true });
    try {
      const { js, names } = this.#parts;
      const ack = await js.publish(names.work(topic), payload, { msgID: id, timeout: requestTimeoutMs });
      if (ack.duplicate) void this.#lookUp(id);
      return openAnswer(await answer);
    } catch (error) {
      throw asBusError(topic, error);
    } finally {
      this.#waiting.delete(id);
    }
  }

  /** Answers may have come while nobody could hear them. */
  lookUpAll(): void {
    for (const id of this.#waiting.keys()) void this.#lookUp(id);
  }

  #listen(): void {
    const { nc, names } = this.#parts;
    this.#listening ??= nc.subscribe(names.answer('*'), {
      callback: (error, message) => {
        if (error === null) this.#waiting.get(message.subject.split('.').at(-1)!)?.(message.string());
      },
    });
  }

  /** What fails here is asked again by the caller's next attempt. */
  async #lookUp(id: string): Promise<void> {
    const { names, log } = this.#parts;
    try {
      const frame = await storedAnswer(this.#parts, id, names.self);
      if (frame !== null) this.#waiting.get(id)?.(frame);
    } catch (error) {
      log.debug('bus answer could not be looked up', { error: String(error) });
    }
  }

  #idOf(topic: string, once: string | undefined): string {
    if (once === undefined) return randomBytes(16).toString('hex');
    return createHash('sha256').update(this.#salt).update(`${topic}\n${once}`).digest('hex').slice(0, 32);
  }
}

function openAnswer(frame: string): string {
  const { header, payload } = decodeFrame(frame);
  if (header.kind === 'result') return payload;
  if (header.kind === 'failure') throw new BusError(header.code, header.message, { retryable: header.retryable });
  throw new BusError('INTERNAL', `a bus answer of kind ${header.kind}`);
}

/** What a responder says, as a frame; its own bugs go to the log only. */
export async function answerFrame(work: Promise<string>, topic: string, log: Log): Promise<string> {
  try {
    const reply = await work;
    checkPayload(topic, reply, natsPayloadBytes);
    return encodeFrame({ kind: 'result', id: 0 }, reply);
  } catch (error) {
    const known = toBusError(error);
    if (known.code === 'INTERNAL') log.error('bus responder failed', { topic, error });
    const { code, message, retryable } = known;
    return encodeFrame({
      ...{ kind: 'failure', id: 0, retryable },
      ...{ code: code.slice(0, 64), message: message.slice(0, 2_000) },
    });
  }
}

/** The responder's end: works on what waits, until it is closed. What is then in work is given to the next responder. */
export async function serveWork(
  parts: WorkParts & { readonly jsm: JetStreamManager },
  { topic, isTakenOver }: { readonly topic: string; readonly isTakenOver: boolean },
  responder: Responder,
): Promise<Subscription> {
  const { jsm, js, names, log } = parts;
  const durable = `respond-${topic.replaceAll(/[^A-Za-z0-9]/g, '_')}`;
  // What it gave to the one before is given out anew, at once, and to nobody who does not work on it.
  if (isTakenOver) await jsm.consumers.delete(names.workStream, durable).catch(ifThere);
  await jsm.consumers.add(names.workStream, {
    durable_name: durable,
    filter_subject: names.work(topic, '*'),
    ack_policy: AckPolicy.Explicit,
    ack_wait: nanosOf(ackWaitMs),
    max_ack_pending: maxInFlight,
  });
  const ending = new AbortController();
  const answers = new Map<string, Promise<string>>();
  let stop: () => void = () => undefined;
  const run = async (): Promise<void> => {
    while (!ending.signal.aborted) {
      try {
        const consumer = await js.consumers.get(names.workStream, durable);
        const messages = await consumer.consume({ max_messages: maxInFlight, idle_heartbeat: 2_000 });
        stop = () => void messages.close();
        if (ending.signal.aborted) stop();
        for await (const message of messages)
          void workOn(parts, message, { topic, responder, answers, signal: ending.signal });
      } catch (error) {
        log.debug('bus work is fetched again', { topic, error: String(error) });
      }
      if (!ending.signal.aborted) await new Promise((resume) => setTimeout(resume, retryMs));
    }
  };
  const running = run();
  return {
    close: async () => {
      ending.abort();
      stop();
      await running;
    },
  };
}

function ifThere(error: unknown): void {
  if (!(error instanceof JetStreamApiError && error.code === JetStreamApiCodes.ConsumerNotFound)) throw error;
}

interface WorkOn {
  readonly topic: string;
  readonly responder: Responder;
  /** Answers of this process that are not stored yet: what is given out again meanwhile is not worked on again. */
  readonly answers: Map<string, Promise<string>>;
  readonly signal: AbortSignal;
}

async function workOn(parts: WorkParts, message: JsMsg, { topic, responder, answers, signal }: WorkOn): Promise<void> {
  const { js, names, log, metrics } = parts;
  const id = message.headers?.get(idHeader) ?? '';
  const sender = names.senderOf(message.subject);
  // Without a name of our form there is no place for an answer.
  if (!idPattern.test(id)) return message.term('its id is no 32 hex digits');
  const alive = setInterval(() => message.working(), ackWaitMs / 3);
  try {
    if (message.redelivered) metrics.count('bus_redelivered_total', 1, { topic });
    // Also of one that looks new: a server that died may have forgotten what it gave out, and that it was acknowledged.
    if ((await storedAnswer(parts, id, sender)) !== null) return message.ack();
    const key = `${sender}.${id}`;
    const answer = answers.get(key) ?? answerFrame(responder(message.string(), { signal }), topic, log);
    answers.set(key, answer);
    const frame = await answer;
    if (signal.aborted) return;
    await js.publish(names.answer(id, sender), frame, { msgID: key, timeout: requestTimeoutMs });
    answers.delete(key);
    message.ack();
  } catch (error) {
    log.debug('bus work is given out again', { topic, error: String(error) });
    message.nak(retryMs);
  } finally {
    clearInterval(alive);
  }
}
