/**
 * @file A role's view of a run that it has joined: the journal folded and kept up to date, signed messages submitted,
 * store and ledger at hand. It checks every entry that it is given (hash chain, signature, admission): a syncer that
 * lies is noticed here, not believed. It decides nothing.
 */
import type { Bus, KeptTopics } from '../bus/port.ts';
import { admit, applyEvent } from '../journal/fold.ts';
import { emptyState, type RunState } from '../journal/state.ts';
import type { Ledger } from '../ledger/port.ts';
import type { Ed25519Equation } from '../protocol/ed25519.ts';
import type { SessionSigner, Signer } from '../protocol/keys.ts';
import type { ArtifactRef, RunManifest } from '../protocol/manifest.ts';
import {
  type EventBody,
  type EventKind,
  grantContext,
  type JournalEntry,
  uploadPartBytes,
  type WireBody,
} from '../protocol/messages.ts';
import type { Hash } from '../protocol/names.ts';
import { type OpenContext, openEntry, type RunBinding, signMessage } from '../protocol/signing.ts';
import type { Store, WriteGrant } from '../store/port.ts';
import { fromHex, fromUtf8, toHex } from '../util/bytes.ts';
import type { Clock, Log } from '../util/clock.ts';
import { assert } from '../util/errors.ts';
import { nodeSha256 } from '../util/node-sha256.ts';
import { RoleError } from './errors.ts';

/** How the syncer answered a message. */
export interface SubmitResult {
  readonly outcome: 'accept' | 'ignore' | 'reject';
  readonly code: string;
  readonly sentence: string;
  /** Id of the message (a claim-commit's is the claim id). */
  readonly id: Hash;
  /** Place in the journal, if accepted. */
  readonly seq: number | null;
}

/** How the syncer answers a grant-request: a `WriteGrant` as JSON, sealed to the session key that asked, in hex. */
export interface SealedGrant {
  readonly sealed: string;
}

/** Topics of the bus; `docs/protocol.md` lists who may use which. */
export const topics = {
  journal: 'journal',
  journalRead: 'journal.read',
  submit: 'submit',
  lease: 'lease',
  grant: 'grant',
  heartbeat: 'heartbeat',
  /** Before the fragment's number; the newest version of each, for who does not fold the journal. */
  heads: 'heads',
} as const;

/** What a bus that can keep messages does with them. A heartbeat that is older than this is of a role that may be gone. */
export const keptTopics: KeptTopics = {
  work: [topics.submit],
  logs: [topics.journal],
  latest: { [topics.heartbeat]: { keepMs: 30_000 }, [topics.heads]: { keepMs: 0 } },
};

/** Entries of one `journal.read` answer, at most. */
export const journalPageEntries = 256;

export interface RunClientOptions {
  readonly bus: Bus;
  readonly store: Store;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** The session key of this process; null for an observer. */
  readonly session: SessionSigner | null;
  /** A native check of ed25519 signatures. */
  readonly equation?: Ed25519Equation;
  /** Called for every entry from the first one on, also for those read while connecting. */
  readonly onFold?: (state: RunState, entry: JournalEntry) => void;
}

export interface RunClient {
  readonly runId: Hash;
  readonly manifest: RunManifest;
  /** The fold, owned by the client: read it, never write it. */
  readonly state: RunState;
  readonly store: Store;
  readonly ledger: Ledger;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** Called after each entry is folded, in order. Returns the function that stops it. */
  onEntry(handler: (entry: JournalEntry) => void): () => void;
  /** Signs, sends, and waits until the own fold has the entry. Retries what is retryable until `signal` aborts. */
  submit<K extends EventKind>(
    kind: K,
    body: EventBody<K>,
    options?: { readonly signer?: Signer },
  ): Promise<SubmitResult>;
  /** Asks for a lease; null if the syncer has none to give now. The lease itself is an event of the journal. */
  requestLease(): Promise<number | null>;
  /** Permission to store `bytes`, which are the artifact; nobody else can read the answer. */
  requestGrant(
    artifact: ArtifactRef,
    purpose: WireBody<'grant-request'>['purpose'],
    bytes: Uint8Array,
  ): Promise<WriteGrant>;
  heartbeat(body: WireBody<'heartbeat'>): Promise<void>;
  close(): Promise<void>;
}

/** SHA-256 of each part of an upload, the last one shorter. */
function partHashes(bytes: Uint8Array): string[] {
  const count = Math.max(1, Math.ceil(bytes.byteLength / uploadPartBytes));
  return Array.from({ length: count }, (_, i) =>
    toHex(nodeSha256(bytes.subarray(i * uploadPartBytes, (i + 1) * uploadPartBytes))),
  );
}

/** Reads the journal from its first entry, checks it, and follows it. */
export async function connectRun(options: RunClientOptions): Promise<RunClient> {
  const follower = new JournalFollower(options);
  await follower.start();
  return new BusRunClient(options, follower);
}

/** The same view of the run for another session key of this process, over its own bus; closing it leaves the view open. */
export function shareRun(client: RunClient, parts: { readonly bus: Bus; readonly session: SessionSigner }): RunClient {
  assert(client instanceof BusRunClient, 'expected a client that connectRun made');
  return client.withSession(parts);
}

const requestTimeoutMs = 10_000;
/** A published entry can be lost with its connection; the poll finds it. */
const pollMs = 1_000;
const firstReadAttempts = 10;
/** Codes of a bus that has no answer. */
const unanswered: ReadonlySet<string> = new Set(['TIMEOUT', 'NO_RESPONDER', 'CLOSED', 'BUSY']);

/** For an entry, until it is folded or the time is up. */
interface Waiting {
  readonly seq: number;
  readonly untilMs: number;
  wake(): void;
  fail(reason: unknown): void;
}

class JournalFollower {
  readonly state: RunState = emptyState();
  readonly #options: RunClientOptions;
  readonly #handlers = new Set<(entry: JournalEntry) => void>();
  #waiting: Waiting[] = [];
  #catchingUp: Promise<void> | null = null;
  #close: (() => Promise<void>) | null = null;

  constructor(options: RunClientOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { bus, clock, signal } = this.#options;
    const subscription = await bus.subscribe(topics.journal, (payload) => this.#onPublished(payload));
    this.#close = () => subscription.close();
    await this.#firstRead();
    const poll = async () => {
      while (!signal.aborted) {
        await clock.sleep(pollMs, signal);
        await this.#catchUp().catch((error) => this.#complain(error));
        this.#wakeAll((waiting) => waiting.untilMs <= clock.nowMs());
      }
    };
    const fail = (reason: unknown): void => {
      for (const waiting of this.#waiting.splice(0)) waiting.fail(reason);
    };
    poll().then(() => fail(signal.reason), fail); // ends with the signal
  }

  /** A syncer that restarts just now is asked again, a few times. */
  async #firstRead(): Promise<void> {
    const { clock, signal } = this.#options;
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#catchUp();
      } catch (error) {
        const isRetryable = (error as { retryable?: boolean }).retryable === true;
        if (!isRetryable || signal.aborted || attempt === firstReadAttempts) throw error;
        await clock.sleep(pollMs, signal);
      }
    }
  }

  onEntry(handler: (entry: JournalEntry) => void): () => void {
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  /** Resolves once the entry `seq` is folded, or after a bounded wait. */
  async reached(seq: number): Promise<void> {
    if (this.state.size > seq) return;
    // The syncer may be gone again: the poll goes on asking.
    await this.#catchUp().catch((error) => this.#complain(error));
    if (this.state.size > seq) return;
    const { clock, signal } = this.#options;
    signal.throwIfAborted();
    const untilMs = clock.nowMs() + requestTimeoutMs;
    // No timer and no listener of each: many may wait at once.
    await new Promise<void>((wake, fail) => this.#waiting.push({ seq, untilMs, wake, fail }));
  }

  #wakeAll(isOver: (waiting: Waiting) => boolean): void {
    if (this.#waiting.length === 0) return;
    const over = this.#waiting.filter(isOver);
    this.#waiting = this.#waiting.filter((waiting) => !over.includes(waiting));
    for (const waiting of over) waiting.wake();
  }

  async close(): Promise<void> {
    await this.#close?.();
  }

  #onPublished(payload: string): void {
    const entry = JSON.parse(payload) as JournalEntry;
    if (entry.seq < this.state.size) return;
    if (entry.seq === this.state.size) this.#take(entry);
    else this.#catchUpTo(entry.seq).catch((error) => this.#complain(error));
  }

  /** A read that was under way may have been answered before the entry was there. */
  async #catchUpTo(seq: number): Promise<void> {
    await this.#catchUp();
    if (this.state.size <= seq) await this.#catchUp();
  }

  /** A journal that breaks its rules is the operator's business; a syncer that is away is the normal case. */
  #complain(error: unknown): void {
    const { log } = this.#options;
    if (error instanceof RoleError) log.error('the syncer gives a journal that is not valid', { error: error.message });
    else log.debug('journal read failed', { error: String(error) });
  }

  #catchUp(): Promise<void> {
    this.#catchingUp ??= this.#readOn().finally(() => {
      this.#catchingUp = null;
    });
    return this.#catchingUp;
  }

  async #readOn(): Promise<void> {
    for (;;) {
      const entries = await this.#readPage();
      for (const entry of entries) if (entry.seq === this.state.size) this.#take(entry);
      if (entries.length === 0) return;
      await new Promise((resume) => setImmediate(resume));
    }
  }

  /** From the bus's copy where it keeps one: a thousand readers then cost the syncer nothing. */
  async #readPage(): Promise<JournalEntry[]> {
    const { bus, signal } = this.#options;
    const from = this.state.size;
    if (bus.replica !== undefined)
      return (await bus.replica.read(topics.journal, from, journalPageEntries)).map((text) => JSON.parse(text));
    const request = JSON.stringify({ from, limit: journalPageEntries });
    return JSON.parse(await bus.request(topics.journalRead, request, { timeoutMs: requestTimeoutMs, signal }));
  }

  #context(): OpenContext | null {
    const binding = bindingOf(this.state);
    const { equation } = this.#options;
    return binding === null || equation === undefined ? binding : { ...binding, equation };
  }

  /** Checks and folds one entry. A bad one is the syncer's lie (or our bug): the role must not go on with it. */
  #take(raw: JournalEntry): void {
    const opened = openEntry(raw, this.state.headHash, this.#context());
    if (!opened.ok) throw new RoleError('JOURNAL_INVALID', `journal entry ${raw.seq}: ${opened.sentence}`);
    const admission = admit(this.state, opened);
    if (admission.outcome !== 'accept')
      throw new RoleError(
        'JOURNAL_INVALID',
        `journal entry ${raw.seq} breaks a rule of the run: ${admission.sentence}`,
      );
    applyEvent(this.state, opened);
    this.#options.onFold?.(this.state, opened.entry);
    for (const handler of this.#handlers) handler(opened.entry);
    this.#wakeAll((waiting) => waiting.seq < this.state.size);
  }
}

/** What signatures of this run are bound to; before the first entry nothing is known. */
export function bindingOf(state: RunState): RunBinding | null {
  if (state.run === null) return null;
  const { chainId, netuid } = state.run.manifest.ledger;
  return { chainId, netuid, run: state.run.id };
}

class BusRunClient implements RunClient {
  readonly runId: Hash;
  readonly manifest: RunManifest;
  readonly state: RunState;
  readonly store: Store;
  readonly ledger: Ledger;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly #options: RunClientOptions;
  readonly #follower: JournalFollower;
  #nonce = 0;
  #submitted = 0;

  constructor(options: RunClientOptions, follower: JournalFollower) {
    if (follower.state.run === null) throw new RoleError('NO_RUN', 'the journal is empty: expected a run to join');
    this.#options = options;
    this.#follower = follower;
    this.runId = follower.state.run.id;
    this.manifest = follower.state.run.manifest;
    this.state = follower.state;
    ({ store: this.store, ledger: this.ledger, log: this.log, signal: this.signal } = options);
  }

  withSession(parts: { readonly bus: Bus; readonly session: SessionSigner }): RunClient {
    const shared = new BusRunClient({ ...this.#options, ...parts }, this.#follower);
    shared.close = async () => undefined;
    return shared;
  }

  onEntry(handler: (entry: JournalEntry) => void): () => void {
    return this.#follower.onEntry(handler);
  }

  async submit<K extends EventKind>(
    kind: K,
    body: EventBody<K>,
    options: { readonly signer?: Signer } = {},
  ): Promise<SubmitResult> {
    const payload = this.#sign(options.signer ?? this.#session(), kind, body);
    const once = `${kind} ${this.#submitted++}`;
    const result = JSON.parse(await this.#request(topics.submit, payload, once)) as SubmitResult;
    if (result.seq !== null) await this.#follower.reached(result.seq);
    return result;
  }

  async requestLease(): Promise<number | null> {
    const payload = this.#sign(this.#session(), 'lease-request', { nonce: this.#nonce++ });
    const reply = JSON.parse(await this.#request(topics.lease, payload)) as {
      lease: number | null;
      seq: number | null;
    };
    if (reply.seq !== null) await this.#follower.reached(reply.seq);
    return reply.lease;
  }

  async requestGrant(
    artifact: ArtifactRef,
    purpose: WireBody<'grant-request'>['purpose'],
    bytes: Uint8Array,
  ): Promise<WriteGrant> {
    const session = this.#session();
    const payload = this.#sign(session, 'grant-request', { artifact, purpose, parts: partHashes(bytes) });
    const { sealed } = JSON.parse(await this.#request(topics.grant, payload)) as SealedGrant;
    const opened = session.unseal(fromHex(sealed) ?? new Uint8Array(0), grantContext(this.runId, artifact.root));
    if (opened === null) throw new RoleError('REFUSED', 'no grant: the answer is not sealed to this session key');
    return JSON.parse(fromUtf8(opened)) as WriteGrant;
  }

  async heartbeat(body: WireBody<'heartbeat'>): Promise<void> {
    await this.#options.bus.publish(topics.heartbeat, this.#sign(this.#session(), 'heartbeat', body));
  }

  close(): Promise<void> {
    return this.#follower.close();
  }

  #session(): SessionSigner {
    if (this.#options.session === null) throw new RoleError('NO_KEY', 'an observer has no key to sign with');
    return this.#options.session;
  }

  #sign(signer: Signer, kind: Parameters<typeof signMessage>[1], body: unknown): string {
    const head = this.state.treeHeads.at(-1);
    const seenHead = head === undefined ? null : { size: head.size, root: head.root };
    return JSON.stringify(signMessage(signer, kind, body, { ...bindingOf(this.state)!, seenHead }));
  }

  /** Retries with growing pauses while the failure is retryable: a syncer that restarts is the normal case. */
  async #request(topic: string, payload: string, once?: string): Promise<string> {
    const { bus, clock, signal, log } = this.#options;
    let answers = 0;
    for (let attempt = 0; ; attempt++) {
      try {
        const named = once === undefined ? {} : { once: `${once} ${answers}` };
        return await bus.request(topic, payload, { timeoutMs: requestTimeoutMs, signal, ...named });
      } catch (error) {
        const retryable = (error as { retryable?: boolean }).retryable === true;
        if (!retryable || signal.aborted) throw error;
        // Unanswered it is the same request; one that was answered would get the same answer for ever.
        if (!unanswered.has((error as { code?: string }).code ?? '')) answers++;
        log.debug('request is retried', { topic, attempt, error: String(error) });
        await clock.sleep(Math.min(200 * 2 ** attempt, 3_000), signal);
      }
    }
  }
}
