/**
 * @file The bus over NATS (2.9 or newer, with JetStream). Core NATS carries what is delivered and forgotten, JetStream what `KeptTopics`
 * names. Who sent a message is proved by its signature; the server holds each to his own subjects besides.
 */
import { randomBytes } from 'node:crypto';
import { type JetStreamClient, type JetStreamManager, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import { headers, type Msg, type NatsConnection } from '@nats-io/transport-node';
import { type Log, type Metrics, silentLog, silentMetrics } from '../../util/clock.ts';
import { withDeadline } from '../deadline.ts';
import { BusError } from '../errors.ts';
import { decodeFrame, encodeFrame, maxRequestMs } from '../frames.ts';
import { closedError } from '../in-process.ts';
import { checkPayload } from '../limits.ts';
import type { Bus, KeptTopics, Replica, RequestOptions, Responder, Subscription } from '../port.ts';
import { NatsLink, type NatsUser } from './connection.ts';
import { asBusError } from './errors.ts';
import { maxRequestsInWork, natsPayloadBytes } from './limits.ts';
import { type NatsNames, subjectOf } from './names.ts';
import { ensureLog, NatsReplica } from './replica.ts';
import { TakenTopics } from './taken.ts';
import { answerFrame, ensureWorkStreams, serveWork, WorkRequests } from './work.ts';

export interface ConnectNatsOptions {
  /** `nats://host:port`, `tls://…` or `wss://…`; of a cluster, some of its servers. */
  readonly servers: readonly string[];
  readonly names: NatsNames;
  readonly kept: KeptTopics;
  readonly user?: NatsUser | null;
  /** Makes the streams and buckets of the run, and may answer. */
  readonly isOwner: boolean;
  /** Of an owner that was elected: it answers in place of any of an earlier term. 0 or left out: of the only one. */
  readonly term?: number;
  readonly label?: string;
  readonly connectTimeoutMs?: number;
  readonly minBackoffMs?: number;
  readonly maxBackoffMs?: number;
  readonly log?: Log;
  readonly metrics?: Metrics;
}

/** @throws BusError UNREACHABLE, FORBIDDEN */
export async function connectNats(options: ConnectNatsOptions): Promise<NatsBus> {
  const { log = silentLog, metrics = silentMetrics, names } = options;
  const link = await NatsLink.open({
    ...{ servers: options.servers, inboxPrefix: names.inboxPrefix, name: options.label ?? 'accrete' },
    ...{ user: options.user ?? null, connectTimeoutMs: options.connectTimeoutMs ?? 10_000 },
    ...{ minBackoffMs: options.minBackoffMs ?? 200, maxBackoffMs: options.maxBackoffMs ?? 5_000, log, metrics },
  });
  try {
    const owned = options.isOwner ? await makeOwned(link.nc, options) : null;
    return new NatsBus(link, options, owned);
  } catch (error) {
    await link.nc.close();
    throw asBusError('bus', error);
  }
}

/** What only the owner of the run has rights for. */
interface Owned {
  readonly jsm: JetStreamManager;
  readonly kvm: Kvm;
  readonly taken: TakenTopics;
}

async function makeOwned(nc: NatsConnection, { names, kept, term = 0 }: ConnectNatsOptions): Promise<Owned> {
  const jsm = await jetstreamManager(nc);
  const kvm = new Kvm(nc);
  if (kept.work.length > 0) await ensureWorkStreams(jsm, names);
  for (const topic of kept.logs) await ensureLog(jsm, names, topic);
  for (const [topic, { keepMs }] of Object.entries(kept.latest))
    await kvm.create(names.latestBucket(topic), { history: 1, ...(keepMs === 0 ? {} : { ttl: keepMs }) });
  const responders = await kvm.create(names.responderBucket, { history: 1 });
  const taken = await TakenTopics.open(nc, names, responders, { instance: randomBytes(16).toString('hex'), term });
  return { jsm, kvm, taken };
}

const timeoutHeader = 'Accrete-Timeout-Ms';

export class NatsBus implements Bus {
  readonly replica: Replica;
  readonly #link: NatsLink;
  readonly #nc: NatsConnection;
  readonly #js: JetStreamClient;
  readonly #names: NatsNames;
  readonly #kept: KeptTopics;
  readonly #owned: Owned | null;
  readonly #log: Log;
  readonly #metrics: Metrics;
  readonly #work: WorkRequests;
  readonly #closing = new AbortController();
  readonly #held = new Set<() => Promise<void>>();
  /** Each fails one waiting request. */
  readonly #pending = new Set<() => void>();
  #requestsInWork = 0;

  constructor(link: NatsLink, options: ConnectNatsOptions, owned: Owned | null) {
    this.#link = link;
    this.#nc = link.nc;
    this.#js = jetstream(link.nc);
    this.#names = options.names;
    this.#kept = options.kept;
    this.#owned = owned;
    this.#log = options.log ?? silentLog;
    this.#metrics = options.metrics ?? silentMetrics;
    this.replica = new NatsReplica(link.nc, this.#js, options.names);
    this.#work = new WorkRequests(this.#workParts());
    link.onReconnect(() => this.#work.lookUpAll());
  }

  get connected(): boolean {
    return this.#link.isConnected && !this.#closing.signal.aborted;
  }

  /** Of a log: use `replica.append`. While the connection is broken: `CLOSED`, for nothing is kept in between. */
  async publish(topic: string, payload: string): Promise<void> {
    this.#check(topic, payload);
    if (this.#kept.logs.includes(topic)) throw new BusError('BAD_TOPIC', `${topic} is a log: append to it`);
    if (!this.connected) throw closedError(topic);
    try {
      if (this.#isLatest(topic)) {
        await this.#js.publish(this.#names.latest(topic), payload);
        return;
      }
      const subject = this.#names.published(topic);
      this.#nc.publish(subject, payload);
      // What the server refuses it says before it answers this, and the client tells it a turn later.
      await this.#nc.flush();
      if (this.#owned === null) await new Promise((resume) => setImmediate(resume));
      if (this.#link.takeViolation(subject))
        throw new BusError('FORBIDDEN', `${topic}: the server allows no publishing of ${subject}`);
    } catch (error) {
      throw asBusError(topic, error);
    }
  }

  async subscribe(topic: string, handler: (payload: string) => void): Promise<Subscription> {
    this.#check(topic, '');
    if (this.#isLatest(topic)) return this.#watch(topic, handler);
    const subject = this.#kept.logs.includes(topic) ? this.#names.log(topic) : this.#names.published(topic, '*');
    return this.#listen(topic, subject, (message) => this.#deliver(topic, handler, message.string()));
  }

  async request(topic: string, payload: string, options: RequestOptions): Promise<string> {
    this.#check(topic, payload);
    const isKept = this.#kept.work.includes(topic);
    const { timeoutMs, signal } = options;
    let end: () => void = () => undefined;
    const ended = new Promise<never>((_, reject) => {
      end = () => reject(closedError(topic));
    });
    this.#pending.add(end);
    const answer = withDeadline({ timeoutMs, signal, what: topic }, (until) =>
      isKept ? this.#work.ask(topic, payload, options.once, until) : this.#ask(topic, payload, timeoutMs),
    );
    try {
      return await Promise.race([answer, ended]);
    } finally {
      this.#pending.delete(end);
    }
  }

  async respond(topic: string, responder: Responder): Promise<Subscription> {
    this.#check(topic, '');
    if (this.#owned === null) throw new BusError('FORBIDDEN', `${topic}: only who runs the orchestrator answers here`);
    const { free, isTakenOver } = await this.#owned.taken.take(topic);
    try {
      const serving = this.#kept.work.includes(topic)
        ? await serveWork({ ...this.#workParts(), jsm: this.#owned.jsm }, { topic, isTakenOver }, responder)
        : await this.#listen(
            topic,
            this.#names.request(topic, '*'),
            (message) => void this.#answer(topic, responder, message),
          );
      return this.#hold(async () => {
        await serving.close();
        await free();
      });
    } catch (error) {
      await free();
      throw asBusError(topic, error);
    }
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(closedError('bus'));
    for (const end of this.#pending) end();
    const held = [...this.#held];
    // Topics are given back while there is a connection to do it over.
    if (this.#link.isConnected) await within(closeLimitMs, Promise.all(held.map((close) => close())));
    await this.#nc.close();
  }

  #workParts() {
    return { nc: this.#nc, js: this.#js, names: this.#names, log: this.#log, metrics: this.#metrics };
  }

  #isLatest(topic: string): boolean {
    return Object.hasOwn(this.#kept.latest, topic.split('.')[0]!);
  }

  #check(topic: string, payload: string): void {
    subjectOf(topic);
    if (this.#closing.signal.aborted) throw closedError(topic);
    checkPayload(topic, payload, natsPayloadBytes);
  }

  #hold(close: () => Promise<void>): Subscription {
    const once = async (): Promise<void> => {
      if (this.#held.delete(once)) await close();
    };
    this.#held.add(once);
    return { close: once };
  }

  async #listen(topic: string, subject: string, handler: (message: Msg) => void): Promise<Subscription> {
    let refusal: Error | null = null;
    const subscription = this.#nc.subscribe(subject, {
      callback: (error, message) => {
        if (error === null) handler(message);
        else refusal = error;
      },
    });
    try {
      // Active, or refused, when the server has answered.
      await this.#nc.flush();
      if (refusal !== null) throw refusal;
    } catch (error) {
      subscription.unsubscribe();
      throw asBusError(topic, error);
    }
    return this.#hold(async () => {
      subscription.unsubscribe();
      if (this.#link.isConnected) await this.#nc.flush();
    });
  }

  async #watch(topic: string, handler: (payload: string) => void): Promise<Subscription> {
    if (this.#owned === null) throw new BusError('FORBIDDEN', `${topic}: only who runs the orchestrator reads it`);
    try {
      const bucket = await this.#owned.kvm.open(this.#names.latestBucket(topic));
      const entries = await bucket.watch({ key: this.#names.latestKey(topic, '*'), ignoreDeletes: true });
      const run = async (): Promise<void> => {
        for await (const entry of entries) this.#deliver(topic, handler, entry.string());
      };
      run().catch((error) => this.#log.error('bus watch ended', { topic, error: String(error) }));
      return this.#hold(async () => entries.stop());
    } catch (error) {
      throw asBusError(topic, error);
    }
  }

  async #ask(topic: string, payload: string, timeoutMs: number): Promise<string> {
    const asked = headers();
    asked.set(timeoutHeader, String(Math.ceil(timeoutMs)));
    try {
      // A little later than the caller's own limit, which gives the error its words.
      const options = { timeout: Math.max(1, Math.min(timeoutMs, maxRequestMs)) + 1_000, headers: asked };
      const reply = await this.#nc.request(this.#names.request(topic), payload, options);
      const { header, payload: text } = decodeFrame(reply.string());
      if (header.kind === 'result') return text;
      if (header.kind === 'failure') throw new BusError(header.code, header.message, { retryable: header.retryable });
      throw new BusError('INTERNAL', `${topic}: an answer of kind ${header.kind}`);
    } catch (error) {
      throw asBusError(topic, error);
    }
  }

  /** The responder is told when the caller's time is up. */
  async #answer(topic: string, responder: Responder, message: Msg): Promise<void> {
    const asked = Number(message.headers?.get(timeoutHeader));
    const timeoutMs = asked >= 0 && asked <= maxRequestMs ? asked : maxRequestMs;
    if (this.#requestsInWork >= maxRequestsInWork) {
      const sentence = `${this.#requestsInWork} requests are in work; wait for some to end`;
      message.respond(encodeFrame({ kind: 'failure', id: 0, code: 'BUSY', message: sentence, retryable: true }));
      return;
    }
    this.#requestsInWork++;
    try {
      const work = withDeadline({ timeoutMs, what: topic }, (signal) => responder(message.string(), { signal }));
      const frame = await answerFrame(work, topic, this.#log);
      if (!this.#nc.isClosed()) message.respond(frame);
    } finally {
      this.#requestsInWork--;
    }
  }

  #deliver(topic: string, handler: (payload: string) => void, payload: string): void {
    try {
      handler(payload);
    } catch (error) {
      this.#metrics.count('bus_handler_errors_total', 1, { topic });
      this.#log.error('bus subscriber failed', { topic, error });
    }
  }
}

const closeLimitMs = 3_000;

/** What takes longer is left to itself. */
async function within(limitMs: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, limitMs);
  });
  await Promise.race([work.catch(() => undefined), limit]);
  clearTimeout(timer);
}
