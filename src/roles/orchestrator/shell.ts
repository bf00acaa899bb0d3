/**
 * @file The orchestrator's hands: appends to the journal, answers requests on the bus, does the step's effects and feeds
 * back what became of them. It decides nothing. All appends go through one queue (`group-admission.ts`), so that each is
 * admitted against the state that the one before it left; what the state then says is done, and told, once it is durable.
 */
import { z } from 'zod';
import type { Bus, Subscription } from '../../bus/port.ts';
import { JournalError } from '../../journal/errors.ts';
import { admit, applyEvent } from '../../journal/fold.ts';
import type { Journal } from '../../journal/port.ts';
import { delegationOf, newestTreeHead, treeHeadOf } from '../../journal/queries.ts';
import { type Delegation, emptyState, type RunState } from '../../journal/state.ts';
import type { Ledger, LedgerSigner } from '../../ledger/port.ts';
import type { Ed25519Equation } from '../../protocol/ed25519.ts';
import type { SessionSigner } from '../../protocol/keys.ts';
import type { ArtifactRef, RunManifest } from '../../protocol/manifest.ts';
import {
  type Envelope,
  type EventBody,
  grantContext,
  type JournalEntry,
  type RunEvent,
  type WireBody,
  type WireKind,
} from '../../protocol/messages.ts';
import { countSchema, type Hash, type Hotkey, type LearnerId, learnerIdOf } from '../../protocol/names.ts';
import { type EphemeralAgreement, seal } from '../../protocol/sealed.ts';
import { type OpenedMessage, openEntry, openEnvelope, signOpened } from '../../protocol/signing.ts';
import type { Store, WriteGrant } from '../../store/port.ts';
import { fromHex, toHex, utf8 } from '../../util/bytes.ts';
import { canonicalJson, parseStrictJson } from '../../util/canonical-json.ts';
import type { Clock, Log, Metrics } from '../../util/clock.ts';
import { assert, assertNever } from '../../util/errors.ts';
import { bindingOf, journalPageEntries, type SealedGrant, type SubmitResult, topics } from '../client.ts';
import { RoleError } from '../errors.ts';
import { stateSizeBytes as stateSizeBytesOf } from '../learner/state-format.ts';
import { LostClaimError } from '../merge-computation.ts';
import { runModelOf } from '../run-model.ts';
import type { OrchestratorEffect, OrchestratorEvent, OrchestratorState } from './events.ts';
import { refuseGrant, tracesOfAudit } from './grants.ts';
import { GroupAdmission } from './group-admission.ts';
import { runMerge } from './merge-runner.ts';
import { JournalReplicator } from './replicator.ts';
import { RunFold } from './run-fold.ts';
import { initialState, leaseFor, step } from './step.ts';

export interface OrchestratorDeps {
  readonly journal: Journal;
  readonly bus: Bus;
  readonly store: Store;
  readonly ledger: Ledger;
  readonly syncer: SessionSigner;
  /** Signs anchors; null where the ledger takes none. */
  readonly anchorSigner: LedgerSigner | null;
  readonly artifactOf: (bytes: Uint8Array) => ArtifactRef;
  readonly equation?: Ed25519Equation;
  /** A native one, for sealing grants. */
  readonly agreement?: EphemeralAgreement;
  /** `parts`: SHA-256 of the upload's parts, as the asker says. */
  readonly issueGrant: (
    artifact: ArtifactRef,
    learner: LearnerId,
    parts: readonly Hash[] | undefined,
  ) => WriteGrant | Promise<WriteGrant>;
  /** Makes a release's folder and says where it is and what is in it; the same release twice is no error. */
  readonly writeRelease: (run: RunState, release: number, heads: readonly ArtifactRef[]) => Promise<WrittenRelease>;
  /** Told of every entry after it was folded, from the first on; it must not throw. */
  readonly onFold?: (run: RunState, entry: JournalEntry) => void;
  /** Awaited after each page of the journal while it is read at the start. */
  readonly onPage?: (run: RunState) => Promise<void>;
  /** A fold that is up to date, or nearly; it tells who must be told by itself. */
  readonly fold?: RunFold;
  /** Journaled first where the run does not know this syncer's session key: its owner's delegation to it. */
  readonly delegate?: (run: RunState) => Envelope;
  /** Exact size of a learner's state; without it no states are stored, and audits go unanswered. */
  readonly stateSizeBytes?: (manifest: RunManifest) => number;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly signal: AbortSignal;
}

export interface WrittenRelease {
  readonly folder: string;
  /** In order of name. */
  readonly files: EventBody<'release-published'>['files'];
}

/** The newest heartbeat of one delegation. */
export interface Pulse {
  readonly delegation: Delegation;
  readonly body: WireBody<'heartbeat'>;
  readonly atMs: number;
}

const journalReadSchema = z.strictObject({ from: countSchema, limit: countSchema });

const tickMs = 100;
const stakeEveryMs = 2_000;
/** A failed effect is tried again after this. */
const retryMs = 1_000;
/** Characters of one `journal.read` answer, unless one entry alone has more. */
const journalPageBytes = 2 * 1024 * 1024;
/** Kinds that others may hand in; the fold's rules say who may. */
const submittable: ReadonlySet<string> = new Set([
  'delegate',
  'amendment',
  'join',
  'leave',
  'lease-return',
  'claim-commit',
  'claim-reveal',
  'verdict',
  'appeal',
  'serve',
  'audit-answer',
  'audit-verdict',
  'segment-attested',
  'evaluation',
]);

export class Orchestrator {
  /** The fold: for the time of one write it may be ahead of what is durable. */
  readonly run: RunState;
  readonly #fold: RunFold;
  readonly #deps: OrchestratorDeps;
  readonly #subscriptions: Subscription[] = [];
  readonly #pulses = new Map<string, Pulse>();
  readonly #releaseFolders = new Map<number, string>();
  /** Null: the bus keeps no copy of the journal. */
  readonly #replicator: JournalReplicator | null;
  readonly #admission: GroupAdmission;
  #state: OrchestratorState;
  #lose: (error: JournalError) => void = () => {};
  /** Resolves when the journal can no longer be written by this process: whoever runs it ends it. */
  readonly lost = new Promise<JournalError>((resolve) => {
    this.#lose = resolve;
  });

  private constructor(deps: OrchestratorDeps) {
    this.#deps = deps;
    this.#fold = deps.fold ?? new RunFold(deps);
    this.run = this.#fold.run;
    const { replica } = deps.bus;
    this.#replicator = replica === undefined ? null : new JournalReplicator({ ...deps, replica });
    this.#state = initialState(this.run);
    const { journal, clock, signal } = deps;
    this.#admission = new GroupAdmission({
      ...{ journal, clock, signal },
      onDurable: (entries) => this.#tellAll(entries),
      onFailure: (error) => this.#noteFailure(error),
    });
  }

  /** Folds the journal, which must hold a run, and starts to serve. */
  static async open(deps: OrchestratorDeps): Promise<Orchestrator> {
    const orchestrator = new Orchestrator(deps);
    await orchestrator.#restore();
    await orchestrator.#replicator?.start();
    await orchestrator.#serve();
    orchestrator.#follow().catch((error) => {
      if (!deps.signal.aborted) deps.log.error('the orchestrator stopped', { error: String(error) });
    });
    return orchestrator;
  }

  get decisions(): OrchestratorState {
    return this.#state;
  }

  /** The fold has entries that the journal does not have yet, or never will. */
  get hasUnwritten(): boolean {
    return this.#admission.pending > 0;
  }

  get pulses(): ReadonlyMap<string, Pulse> {
    return this.#pulses;
  }

  /** Where the folders of releases are that this process wrote or found. */
  get releaseFolders(): ReadonlyMap<number, string> {
    return this.#releaseFolders;
  }

  /** Asks for the end: one more release, its evaluation, then `decisions.stop.state` is `stopped`. */
  requestStop(): void {
    this.#dispatch({ kind: 'stop', nowMs: this.#deps.clock.nowMs() });
  }

  async close(): Promise<void> {
    await Promise.all(this.#subscriptions.map((subscription) => subscription.close()));
    await this.#admission.idle();
    if (this.#state.stop.state !== 'running') await this.#anchorEnd();
    await this.#replicator?.close();
  }

  /** After an asked-for end nothing follows: a last head covers every entry, so that a cut can be seen. */
  async #anchorEnd(): Promise<void> {
    const { anchorSigner, ledger, log } = this.#deps;
    if (anchorSigner === null) return;
    const { size, root } = treeHeadOf(this.run);
    const block = Math.max(this.#state.head?.number ?? 0, this.run.treeHeads.at(-1)?.block ?? 0);
    this.#state = { ...this.#state, busy: new Set([...this.#state.busy, `anchor-${size}`]) }; // done here, not by the step
    try {
      await this.#appendOwn({ kind: 'tree-head', body: { size, root, block } });
      await ledger.commit(anchorSigner, fromHex(root)!);
    } catch (error) {
      log.warn('the end of the journal is not anchored', { error: String(error) });
    }
  }

  async #restore(): Promise<void> {
    const { journal, syncer, delegate } = this.#deps;
    await this.#fold.readOn(journal);
    if (this.run.run === null) throw new RoleError('NO_RUN', 'the journal is empty: expected a run to orchestrate');
    if (delegate === undefined || this.run.sessions.has(syncer.sessionKey)) return;
    const result = await this.submit(JSON.stringify(delegate(this.run)));
    if (result.outcome !== 'accept')
      throw new RoleError('REFUSED', `the run refuses this syncer: ${result.code}: ${result.sentence}`);
  }

  async #serve(): Promise<void> {
    const { bus } = this.#deps;
    const respond = async (topic: string, answer: (payload: string) => Promise<unknown>) =>
      this.#subscriptions.push(await bus.respond(topic, async (payload) => JSON.stringify(await answer(payload))));
    await respond(topics.submit, (payload) => this.#onSubmit(payload));
    await respond(topics.lease, (payload) => this.#onLeaseRequest(payload));
    await respond(topics.grant, (payload) => this.#onGrantRequest(payload));
    await respond(topics.journalRead, (payload) => this.#onJournalRead(payload));
    this.#subscriptions.push(await bus.subscribe(topics.heartbeat, (payload) => this.#onHeartbeat(payload)));
  }

  /** Blocks, stake and time. */
  async #follow(): Promise<void> {
    const { clock, signal, ledger, log } = this.#deps;
    let stakeAtMs = Number.NEGATIVE_INFINITY;
    while (!signal.aborted) {
      try {
        await this.#readBlocks();
        if (clock.nowMs() - stakeAtMs > stakeEveryMs) {
          stakeAtMs = clock.nowMs();
          const neurons = await ledger.metagraph();
          const stakeRao = new Map(neurons.map((neuron): [Hotkey, number] => [neuron.hotkey, neuron.stakeRao]));
          this.#dispatch({ kind: 'stake', stakeRao, nowMs: clock.nowMs() });
        }
      } catch (error) {
        log.warn('the ledger did not answer', { error: String(error) });
      }
      this.#dispatch({ kind: 'tick', nowMs: clock.nowMs() });
      await clock.sleep(tickMs, signal).catch(() => {}); // an abort ends the loop
    }
  }

  async #readBlocks(): Promise<void> {
    const { ledger, clock } = this.#deps;
    const head = await ledger.head();
    const known = this.#state.head?.number ?? head.number - 1;
    for (let number = Math.max(known + 1, head.number - 16); number <= head.number; number++) {
      const block = number === head.number ? head : await ledger.block(number);
      if (block !== null) this.#dispatch({ kind: 'block', block: { number, hash: block.hash }, nowMs: clock.nowMs() });
    }
  }

  /** Takes an event and starts what follows from it. */
  #dispatch(event: OrchestratorEvent): void {
    const [state, effects] = step(this.#state, event);
    this.#state = state;
    for (const effect of effects) this.#start(effect);
  }

  #start(effect: OrchestratorEffect): void {
    if (effect.kind === 'journal') {
      this.#journalOwn(effect.event);
      return;
    }
    // An anchor or a release of what a crash can still undo would be there without its entries.
    this.#admission.whenDurable(() => this.#doWork(effect));
  }

  #doWork(effect: Exclude<OrchestratorEffect, { kind: 'journal' }>): void {
    this.#work(effect).then(
      () => this.#dispatch({ kind: 'done', key: effect.key, nowMs: this.#deps.clock.nowMs() }),
      async (error) => {
        if (this.#deps.signal.aborted) return;
        this.#deps.log.error('work failed and is tried again', { key: effect.key, error: String(error) });
        await this.#deps.clock.sleep(retryMs, this.#deps.signal).catch(() => {});
        this.#dispatch({ kind: 'failed', key: effect.key, nowMs: this.#deps.clock.nowMs() });
      },
    );
  }

  #journalOwn(event: RunEvent): void {
    const { log, clock, signal } = this.#deps;
    let isAdmitted = false;
    const admitting = this.#admission.enqueue(() => {
      isAdmitted = this.#admitOwn(event);
      // The next one is decided at once: it goes with the same group.
      if (isAdmitted) this.#dispatch({ kind: 'settled', nowMs: clock.nowMs() });
    });
    admitting
      .catch((error) => log.error('an event was not journaled', { kind: event.kind, error: String(error) }))
      .then(async () => {
        if (isAdmitted) return;
        // A refused event would be decided again at once: the state it was refused for must change first.
        await clock.sleep(tickMs, signal).catch(() => {});
        if (!signal.aborted) this.#dispatch({ kind: 'settled', nowMs: clock.nowMs() });
      });
  }

  async #work(effect: Exclude<OrchestratorEffect, { kind: 'journal' }>): Promise<void> {
    const { store, artifactOf, clock, ledger, anchorSigner, log } = this.#deps;
    switch (effect.kind) {
      case 'compute-merge': {
        const { plan } = runModelOf(this.run.run!.manifest);
        const deps = { store, plan, artifactOf, nowMs: () => clock.nowMs() };
        const body = await runMerge(this.run, effect.fragment, deps).catch((error) => this.#voidLost(error));
        const isJournaled = await this.#appendOwn({ kind: 'fragment-published', body });
        if (!isJournaled) throw new RoleError('REFUSED', `the merge of outer step ${body.outerStep} was not journaled`);
        return;
      }
      case 'anchor':
        if (anchorSigner !== null) await ledger.commit(anchorSigner, fromHex(effect.root)!);
        return;
      case 'write-release': {
        const artifacts = this.#fold.heads.ofRelease(effect.release);
        assert(artifacts !== null, `release ${effect.release} is not in the journal`);
        const { folder, files } = await this.#deps.writeRelease(this.run, effect.release, artifacts);
        this.#releaseFolders.set(effect.release, folder);
        log.info('release written', { release: effect.release, folder });
        const body = { release: effect.release, files: [...files] };
        if (this.run.releases[effect.release]!.files.length === 0)
          await this.#appendOwn({ kind: 'release-published', body });
        for (const root of this.#fold.retention.takeExpired(this.run, this.#fold.heads.neededRoots()))
          await store.remove(root);
        return;
      }
      default:
        assertNever(effect);
    }
  }

  /** A merge that lacks a claim's bytes would be tried for ever: it goes on without the claim. */
  async #voidLost(error: unknown): Promise<never> {
    if (!(error instanceof LostClaimError)) throw error;
    const sentence = 'its bytes are gone from the store, or are no fragment: the merge goes on without it';
    this.#deps.log.error('an accepted claim is lost', { claim: error.claim, error: error.message });
    const body = { claim: error.claim, code: 'LOST', sentence } as const;
    await this.#appendOwn({ kind: 'claim-void', body });
    throw error;
  }

  /** Resolves once it is durable, or with false where the state no longer takes it. */
  #appendOwn(event: RunEvent): Promise<boolean> {
    return this.#admission.enqueue(() => this.#admitOwn(event));
  }

  /** The step looked at a state that the queue may have moved on from; what no longer holds is dropped, not forced. */
  #admitOwn(event: RunEvent): boolean {
    const result = this.#admit(this.#sign(event.kind, event.body));
    if (result.outcome === 'accept') return true;
    this.#deps.metrics.count('own_events_refused_total', 1, { code: result.code });
    this.#deps.log.debug('own event refused', { kind: event.kind, code: result.code, sentence: result.sentence });
    return false;
  }

  #sign(kind: RunEvent['kind'], body: unknown): OpenedMessage {
    const context = { ...bindingOf(this.run)!, seenHead: newestTreeHead(this.run) };
    return signOpened(this.#deps.syncer, kind, body, context);
  }

  /** Admits and folds one message, whose signature was checked. In the queue; durable when the queue's promise resolves. */
  #admit(message: OpenedMessage): SubmitResult {
    const { id, envelope } = message;
    const nowMs = this.#deps.clock.nowMs();
    const timeMs = Math.max(Math.round(nowMs), this.run.lastTimeMs);
    const entry: JournalEntry = { seq: this.run.size, prevHash: this.run.headHash, timeMs, message: envelope };
    const admission = admit(this.run, { entry, message });
    if (admission.outcome !== 'accept') return { ...admission, id, seq: null };
    this.#admission.admit(entry, this.#fold.apply({ entry, message }));
    this.#forgetPulse(message);
    const event = { kind: message.kind, body: message.body } as RunEvent;
    // Now: the next one is admitted after the decision that this one led to.
    this.#dispatch({ kind: 'journaled', event, id, nowMs });
    return { outcome: 'accept', code: 'OK', sentence: '', id, seq: entry.seq };
  }

  /** What became durable is told in order. */
  async #tellAll(entries: readonly JournalEntry[]): Promise<void> {
    this.#replicator?.wake(entries);
    for (const entry of entries) {
      try {
        await this.#deps.bus.publish(topics.journal, JSON.stringify(entry));
      } catch (error) {
        this.#noteUntold(entry, error);
      }
      const { kind, body } = entry.message;
      if (kind === 'fragment-published') this.#tellHead(entry, body as EventBody<'fragment-published'>);
    }
  }

  #noteFailure(error: unknown): void {
    this.#deps.metrics.count('journal_write_errors_total');
    this.#deps.log.warn('the journal was not written and is tried again', {
      ...{ waiting: this.#admission.pending, error: String(error) },
    });
    if (error instanceof JournalError && (error.code === 'LOCKED' || error.code === 'FENCED')) this.#lose(error);
  }

  /** A bus that is away must not undo what is journaled: readers fetch what they did not hear. */
  #noteUntold(entry: JournalEntry, error: unknown): void {
    this.#deps.metrics.count('entries_not_told_total');
    this.#deps.log.debug('an entry was not published', { seq: entry.seq, error: String(error) });
  }

  /** Nobody waits for it: who folds the journal has it. */
  #tellHead(entry: JournalEntry, { fragment, version, artifact }: EventBody<'fragment-published'>): void {
    const head = canonicalJson({ fragment, version, artifact, seq: entry.seq });
    this.#deps.bus.publish(`${topics.heads}.${fragment}`, head).catch((error) => this.#noteUntold(entry, error));
  }

  /** Takes a message that came by another way than the bus, as one that came by it. */
  submit(payload: string): Promise<SubmitResult> {
    return this.#onSubmit(payload);
  }

  /** Who signed a request for credentials of the bus. @throws RoleError REFUSED: forged, or no delegation is in force */
  openBusAccess(payload: string): Delegation {
    return this.#openWire(payload, 'bus-access').delegation;
  }

  async #onSubmit(payload: string): Promise<SubmitResult> {
    const opened = openEnvelope(payload, this.#fold.context()!);
    if (!opened.ok) {
      this.#deps.metrics.count('messages_rejected_total', 1, { code: opened.code });
      return { outcome: 'reject', code: opened.code, sentence: opened.sentence, id: zeroId, seq: null };
    }
    const { message } = opened;
    if (!submittable.has(message.kind))
      return refusal(message, 'NOT_SUBMITTABLE', `${message.kind} is not a message that participants hand in`);
    const missing = await this.#missingBytes(message);
    if (missing !== null) return refusal(message, 'MISSING', missing);
    return this.#admission.enqueue(() => this.#admit(message));
  }

  /** What the message's bytes still lack in the store, or null. */
  async #missingBytes({ kind, body }: OpenedMessage): Promise<string | null> {
    const then = {
      'claim-reveal': 'reveal the claim',
      verdict: 'send the verdict',
      'audit-answer': 'answer the audit',
    };
    const named = namedBytes(this.run, { kind, body } as RunEvent);
    for (const artifact of named) {
      const sizeBytes = await this.#deps.store.stat(artifact.root);
      if (sizeBytes !== artifact.sizeBytes)
        return `artifact ${artifact.root} is not in the store: upload it, then ${then[kind as keyof typeof then]}`;
    }
    return null;
  }

  async #onLeaseRequest(payload: string): Promise<{ lease: number | null; seq: number | null }> {
    const { delegation } = this.#openWire(payload, 'lease-request');
    const grant = () => {
      const learner = this.run.learners.get(learnerIdOf(delegation.hotkey, delegation.name));
      const body = learner === undefined ? null : leaseFor(this.#state, learner, this.#deps.clock.nowMs());
      if (body === null) return { lease: null, seq: null };
      const result = this.#admit(this.#sign('lease', body));
      if (result.outcome !== 'accept') throw new RoleError('REFUSED', `no lease: ${result.code}: ${result.sentence}`);
      return { lease: body.lease, seq: result.seq };
    };
    // A machine stands still for it.
    return this.#admission.enqueue(grant, { isUrgent: true });
  }

  async #onGrantRequest(payload: string): Promise<SealedGrant> {
    const { delegation, body } = this.#openWire(payload, 'grant-request');
    const stateSizeBytes =
      this.#deps.stateSizeBytes ?? ((manifest: RunManifest) => stateSizeBytesOf(runModelOf(manifest).plan, manifest));
    const refused = refuseGrant(this.run, delegation, body, { stakeRao: this.#state.stakeRao, stateSizeBytes });
    if (refused !== null) throw new RoleError('REFUSED', `no grant: ${refused}`);
    const { artifact, parts } = body;
    const { issueGrant, agreement } = this.#deps;
    const grant = await issueGrant(artifact, learnerIdOf(delegation.hotkey, delegation.name), parts);
    // To exactly who asked: whoever sees the answer pass, or sends the request again, can do nothing with it.
    const context = grantContext(bindingOf(this.run)!.run, artifact.root);
    return { sealed: toHex(seal(utf8(JSON.stringify(grant)), delegation.sessionKey, context, agreement)) };
  }

  async #onJournalRead(payload: string): Promise<JournalEntry[]> {
    const asked = parseStrictJson(payload, { maxLength: 1_000, maxDepth: 2 });
    const range = journalReadSchema.safeParse(asked.ok ? asked.value : null);
    if (!range.success) throw new RoleError('REFUSED', 'journal.read takes { from, limit }, whole numbers from 0');
    const { from, limit } = range.data;
    const entries = await this.#deps.journal.read(from, Math.min(Math.max(1, limit), journalPageEntries));
    let sizeBytes = 0;
    const end = entries.findIndex((entry) => {
      sizeBytes += JSON.stringify(entry).length;
      return sizeBytes > journalPageBytes;
    });
    // One entry always fits: messages are bounded below the bus's frames.
    return end < 0 ? entries : entries.slice(0, Math.max(1, end));
  }

  /** A process that entered anew may have another clock than the one before it: its heartbeats begin anew. */
  #forgetPulse({ kind, signer }: OpenedMessage): void {
    if ((kind !== 'join' && kind !== 'serve') || signer.kind !== 'session') return;
    const delegation = delegationOf(this.run, signer.sessionKey, this.run.lastTimeMs);
    if (delegation !== null) this.#pulses.delete(pulseKeyOf(delegation));
  }

  #onHeartbeat(payload: string): void {
    try {
      const { delegation, body } = this.#openWire(payload, 'heartbeat');
      const atMs = this.#deps.clock.nowMs();
      const { hotkey, name, role } = delegation;
      const key = pulseKeyOf(delegation);
      const before = this.#pulses.get(key);
      // Sent again by somebody else it would keep a dead role alive.
      if (before?.delegation.sessionKey === delegation.sessionKey && body.atMs <= before.body.atMs)
        throw new RoleError('REFUSED', `a heartbeat of ${key} at ${before.body.atMs} is known, got ${body.atMs}`);
      this.#pulses.set(key, { delegation, body, atMs });
      this.#dispatch({ kind: 'heartbeat', role, hotkey, learner: learnerIdOf(hotkey, name), nowMs: atMs });
    } catch (error) {
      this.#deps.metrics.count('heartbeats_refused_total');
      this.#deps.log.debug('heartbeat refused', { error: String(error) });
    }
  }

  /** A signed message that is not journaled, and whose delegation is in force. */
  #openWire<K extends WireKind>(
    payload: string,
    kind: K,
  ): { readonly delegation: Delegation; readonly body: WireBody<K> } {
    const opened = openEnvelope(payload, this.#fold.context()!);
    if (!opened.ok) throw new RoleError('REFUSED', `${opened.code}: ${opened.sentence}`);
    const { message } = opened;
    if (message.kind !== kind || message.signer.kind !== 'session')
      throw new RoleError('REFUSED', `expected a ${kind} by a session key, got a ${message.kind}`);
    const delegation = delegationOf(this.run, message.signer.sessionKey, this.#deps.clock.nowMs());
    if (delegation === null) throw new RoleError('REFUSED', 'NOT_DELEGATED: no hotkey delegates to this session key');
    return { delegation, body: message.body as WireBody<K> };
  }
}

/** Artifacts that must be in the store before a message is journaled; what the fold will refuse names none. */
function namedBytes(run: RunState, { kind, body }: RunEvent): ArtifactRef[] {
  if (kind === 'verdict') return body.details === null ? [] : [body.details];
  if (kind === 'claim-reveal') {
    const claim = run.claims.get(body.claim);
    return claim === undefined ? [] : [claim.body.artifact, claim.body.trace.artifact];
  }
  if (kind !== 'audit-answer' || !run.openAudits.has(body.audit)) return [];
  // Without its lines nobody could redo a segment, and the learner would be safe.
  return [...(body.start === null ? [] : [body.start]), body.end, ...tracesOfAudit(run, body.audit)];
}

const pulseKeyOf = ({ role, hotkey, name }: Delegation): string => `${role}/${hotkey}/${name}`;

const zeroId = '0'.repeat(64) as Hash;

const refusal = (message: OpenedMessage, code: string, sentence: string): SubmitResult => ({
  outcome: 'reject',
  code,
  sentence,
  id: message.id,
  seq: null,
});

/** Journals the first messages of a new run, in order. */
export async function startJournal(journal: Journal, messages: readonly Envelope[], nowMs: number): Promise<void> {
  const run = emptyState();
  for (const message of messages) {
    const raw: JournalEntry = { seq: run.size, prevHash: run.headHash, timeMs: nowMs, message };
    const opened = openEntry(raw, run.headHash, bindingOf(run));
    assert(opened.ok, `first entries: ${opened.ok ? '' : opened.sentence}`);
    const admission = admit(run, opened);
    assert(admission.outcome === 'accept', `first entries: ${JSON.stringify(admission)}`);
    await journal.append(opened.entry);
    applyEvent(run, opened);
  }
}
