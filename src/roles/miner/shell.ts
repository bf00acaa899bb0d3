/**
 * @file The miner's hands: follows the journal, runs the learner's thread, uploads claims, beats its heart, and feeds
 * what happened back to the step. It decides nothing. Training never waits for the network.
 */
import type { TextPlace } from '../../data/shards.ts';
import type { Device } from '../../engine/device.ts';
import { manifestOf, phaseOf } from '../../journal/queries.ts';
import type { Learner as LearnerRecord } from '../../journal/state.ts';
import type { LedgerSigner } from '../../ledger/port.ts';
import { artifactOf } from '../../protocol/artifact.ts';
import type { HotkeySigner, SessionSigner } from '../../protocol/keys.ts';
import type { ArtifactRef, RunManifest } from '../../protocol/manifest.ts';
import type { EventBody, EventKind, JournalEntry } from '../../protocol/messages.ts';
import { type Hash, type LearnerId, learnerIdOf, toDecimal } from '../../protocol/names.ts';
import { StoreError } from '../../store/errors.ts';
import { RouterMeter } from '../../training/router-health.ts';
import type { Clock, Log, Metrics } from '../../util/clock.ts';
import { assert, assertNever } from '../../util/errors.ts';
import { nodeSha256 } from '../../util/node-sha256.ts';
import { eachInRanges, type Range } from '../../util/ranges.ts';
import { openShardCache } from '../cached-text.ts';
import type { RunClient, SubmitResult } from '../client.ts';
import { enterRun } from '../enter.ts';
import { RoleError } from '../errors.ts';
import type { PublishedFragment, StepReport } from '../learner/learner.ts';
import { batchTermsOf } from '../learner/schedule-position.ts';
import { keptStates } from '../learner/state-folder.ts';
import { RedoneVersions } from '../redone-versions.ts';
import { routersBody } from '../routers-body.ts';
import { type LocatedSequence, locatorOf, phaseTermsOf } from '../run-data.ts';
import { fetchFrozen, runModelOf } from '../run-model.ts';
import type { ShardCache } from '../shard-cache.ts';
import { AuditAnswerer } from './audit-answerer.ts';
import { ClaimUploader } from './claim-uploader.ts';
import type { MinerEffect, MinerEvent, MinerRules, MinerState, TrainPlan } from './events.ts';
import { type LearnerThread, startLearnerThread, type ThreadStepReport } from './learner-thread.ts';
import { initialMinerState, stepMiner } from './step.ts';
import { TraceBook } from './trace-book.ts';

export interface MinerOptions {
  /** The learner's name under its hotkey. */
  readonly name: string;
  readonly threads: number;
  /** Default cpu. */
  readonly device?: Device;
  /** Where the shards of the leases are kept, and how much of them; of this learner alone. */
  readonly stateDir: string;
  readonly cacheBytes: number;
  /** Where this learner's states are kept for audits; of this learner alone. */
  readonly statesDir: string;
  readonly capabilities: Omit<EventBody<'join'>, 'atMs'>;
}

/** What a learner begins from: the fragments as published, and the frozen tensors (null where none are). */
export interface LearnerParts {
  readonly start: readonly PublishedFragment[];
  readonly frozen: Uint8Array | null;
}

export interface MinerDeps {
  /** Signs with `session`. Its signal ends later than `signal`. */
  readonly client: RunClient;
  readonly hotkey: HotkeySigner;
  readonly session: SessionSigner;
  readonly ledgerSigner: LedgerSigner;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly rssBytes: () => number;
  /** Asks for a clean leave: the running step and the open claim end first. */
  readonly signal: AbortSignal;
  /** A thread of its own by default, which reads a cache of shards; this one has its text itself. */
  readonly openLearner?: (parts: LearnerParts) => Promise<LearnerThread>;
  /** After each inner step. */
  readonly onStep?: (plan: TrainPlan, report: StepReport) => void;
}

export interface MinerSummary {
  /** Of this process. */
  readonly innerSteps: number;
  readonly tokens: number;
  readonly claims: number;
  /** Refused or voided. */
  readonly refused: number;
}

const heartbeatMs = 2_000;
const tickMs = 250;
const leaseRetryMs = 500;
const fetchRetryMs = 500;
/** A leave waits so long for open audits to be answered. */
const answerLimitMs = 10_000;
/** A leave that takes longer goes without ceremony: the syncer lets the lease expire. */
const leaveLimitMs = 15_000;

/** Joins, trains until `signal`, leaves. @throws RoleError REFUSED (the join), LEARNER_FAILED; StoreError */
export async function runMiner(options: MinerOptions, deps: MinerDeps): Promise<MinerSummary> {
  const { client } = deps;
  const learner = learnerIdOf(deps.hotkey.hotkey, options.name);
  await enterRun({ ...deps, role: 'miner', name: options.name });
  const versions = client.state.fragments.map(({ version }) => version);
  const artifacts = client.state.fragments.map(({ artifact }) => artifact);
  const start = await Promise.all(
    artifacts.map(async (artifact, fragment) => ({
      version: versions[fragment]!,
      bytes: await client.store.get(artifact, { signal: deps.signal }),
    })),
  );
  const frozen = await fetchFrozen(client.state, client.store, deps.signal);
  const shards = deps.openLearner === undefined ? await openShards(options, deps) : null;
  const thread = await (deps.openLearner ?? ((parts) => openThread(options, deps, parts)))({ start, frozen });
  try {
    await thread.prepare(client.state.phase, phaseTermsOf(client.state));
    const joined = await client.submit('join', { ...options.capabilities, atMs: nextAtMs(deps, learner) });
    if (joined.outcome === 'reject')
      throw new RoleError('REFUSED', `the run refuses ${learner}: ${joined.code}: ${joined.sentence}`);
    const redone = new RedoneVersions({
      ...{ manifest: client.manifest, plan: runModelOf(client.manifest).plan, store: client.store },
      artifactOf: (bytes) => artifactOf(bytes, nodeSha256),
    });
    for (const [fragment, artifact] of artifacts.entries()) redone.hold(fragment, artifact, start[fragment]!.bytes);
    return await new Miner({ learner, thread, shards, versions, redone, deps }).run();
  } finally {
    await thread.close();
  }
}

export function minerRulesOf(manifest: RunManifest): MinerRules {
  const { recipe, sync, fragments } = manifest;
  return {
    fragmentCount: fragments.count,
    batchSequences: recipe.batchSequences,
    innerStepsPerOuterStep: sync.innerStepsPerOuterStep,
    joinWarmupSteps: recipe.joinWarmupSteps,
    stateRootEverySteps: sync.stateRootEverySteps,
    leaseRetryMs,
  };
}

function openShards({ stateDir, cacheBytes }: MinerOptions, { client, log }: MinerDeps): Promise<ShardCache> {
  const { manifest, store, signal } = client;
  return openShardCache({ dir: stateDir, limitBytes: cacheBytes }, manifest, { store, log, signal });
}

async function openThread(options: MinerOptions, deps: MinerDeps, parts: LearnerParts): Promise<LearnerThread> {
  const { client } = deps;
  const { threads, device = 'cpu' } = options;
  const { manifest, runId: run } = client;
  const learner = learnerIdOf(deps.hotkey.hotkey, options.name);
  const states = {
    ...{ dir: options.statesDir, run, keep: keptStates(manifest.audit.window) },
    committedSteps: client.state.learners.get(learner)?.innerSteps ?? 0,
  };
  return startLearnerThread({ manifest, threads, device, ...parts, shardDir: options.stateDir, states });
}

/** Joins and leaves of a learner are told apart by their times, which must grow even if the clock went back. */
function nextAtMs({ client, clock }: MinerDeps, learner: LearnerId): number {
  return Math.max(Math.round(clock.nowMs()), (client.state.learners.get(learner)?.lastAtMs ?? 0) + 1);
}

type Unstamped<E> = E extends unknown ? Omit<E, 'nowMs'> : never;

class Miner {
  readonly #learner: LearnerId;
  readonly #thread: LearnerThread;
  readonly #deps: MinerDeps;
  readonly #shards: ShardCache | null;
  readonly #locate: (phase: number, position: number) => LocatedSequence;
  readonly #uploader: ClaimUploader;
  readonly #trace: TraceBook;
  readonly #answerer: AuditAnswerer;
  readonly #redone: RedoneVersions;
  /** Bytes of fetched versions, by fragment, until they are taken in. */
  readonly #fetched = new Map<number, Uint8Array>();
  readonly #firstStep: number;
  #state: MinerState;
  /** What the syncer is still being told. */
  #leaving: Promise<void> = Promise.resolve();
  #failure: unknown = null;
  #wake: () => void = () => {};
  #lastLoss: number | null = null;
  readonly #routers = new RouterMeter();
  #tokens = 0;
  #rate = { sinceMs: 0, tokens: 0, perSecond: null as number | null };

  constructor(parts: {
    readonly learner: LearnerId;
    readonly thread: LearnerThread;
    readonly shards: ShardCache | null;
    /** Versions that the thread started from. */
    readonly versions: readonly number[];
    readonly redone: RedoneVersions;
    readonly deps: MinerDeps;
  }) {
    const { client, log } = parts.deps;
    this.#learner = parts.learner;
    this.#thread = parts.thread;
    this.#deps = parts.deps;
    this.#shards = parts.shards;
    this.#locate = locatorOf(client.manifest, () => phaseTermsOf(client.state));
    this.#redone = parts.redone;
    this.#uploader = new ClaimUploader({ client, log, clock: parts.deps.clock });
    this.#answerer = new AuditAnswerer({
      ...{ client, log, clock: parts.deps.clock, learner: parts.learner },
      keptState: (root) => parts.thread.keptState(root),
    });
    const record = this.#record();
    this.#firstStep = record.innerSteps;
    this.#trace = new TraceBook(record.traceHead, record.innerSteps);
    this.#state = initialMinerState({
      rules: minerRulesOf(client.manifest),
      innerSteps: record.innerSteps,
      versions: parts.versions,
      lastClaimedOuterStep: Math.max(-1, ...record.claimedOuterStep),
    });
  }

  /** Until it has left. */
  async run(): Promise<MinerSummary> {
    const { client, log, signal } = this.#deps;
    const unfollow = client.onEntry((entry) => this.#onEntry(entry));
    const record = this.#record();
    const before = { ...record.claims };
    const ended = new AbortController();
    const onStop = (): void => this.#dispatch({ kind: 'stop' });
    try {
      this.#catchUp();
      this.#dispatch({ kind: 'joined' });
      log.info('joined', { learner: this.#learner, innerSteps: this.#firstStep });
      signal.addEventListener('abort', onStop);
      if (signal.aborted) onStop();
      const beating = this.#beat(ended.signal);
      await Promise.race([this.#untilLeft(ended.signal), beating]);
      if (this.#failure !== null) throw this.#failure;
      return {
        innerSteps: this.#state.innerSteps - this.#firstStep,
        tokens: this.#tokens,
        claims: record.claims.committed - before.committed,
        refused: record.claims.refused + record.claims.voided - before.refused - before.voided,
      };
    } finally {
      ended.abort();
      signal.removeEventListener('abort', onStop);
      unfollow();
    }
  }

  #record(): LearnerRecord {
    const record = this.#deps.client.state.learners.get(this.#learner);
    assert(record !== undefined, `the fold does not know ${this.#learner} after its join`);
    return record;
  }

  /** What was journaled between the fetch of the start and now. */
  #catchUp(): void {
    const { state } = this.#deps.client;
    this.#preparePhase();
    state.fragments.forEach(({ version, artifact }, fragment) => {
      this.#dispatch({ kind: 'fragment-published', fragment, version, artifact });
    });
    if (state.due !== null)
      this.#dispatch({ kind: 'fragment-due', outerStep: state.due.outerStep, fragment: state.due.fragment });
    this.#answerer.answerOpen();
  }

  async #untilLeft(ended: AbortSignal): Promise<void> {
    const { clock, signal } = this.#deps;
    let leaveByMs = Number.POSITIVE_INFINITY;
    while (this.#state.kind !== 'left' && this.#failure === null && !ended.aborted) {
      if (signal.aborted) leaveByMs = Math.min(leaveByMs, clock.nowMs() + leaveLimitMs);
      if (clock.nowMs() > leaveByMs) return;
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      await Promise.race([woken, clock.sleep(tickMs, ended).catch(() => {})]);
      this.#dispatch({ kind: 'tick' });
    }
    await this.#leaving;
  }

  #dispatch(event: Unstamped<MinerEvent>): void {
    if (this.#failure !== null) return;
    const [state, effects] = stepMiner(this.#state, { ...event, nowMs: this.#deps.clock.nowMs() } as MinerEvent);
    this.#state = state;
    for (const effect of effects) this.#start(effect);
  }

  /** Starts one effect; whoever reports its end dispatches again. A failure that nothing can mend ends the miner. */
  #start(effect: MinerEffect): void {
    this.#perform(effect).catch((error) => {
      if (this.#state.kind === 'left' || this.#deps.client.signal.aborted) return;
      this.#failure ??= error;
      this.#wake();
    });
  }

  async #perform(effect: MinerEffect): Promise<void> {
    const { client } = this.#deps;
    switch (effect.kind) {
      case 'request-lease':
        return await this.#requestLease();
      case 'return-lease':
        return this.#tell(() => client.submit('lease-return', { lease: effect.lease, reason: 'returned' }));
      case 'fetch-fragment':
        return await this.#fetch(effect.fragment, effect.version, effect.artifact);
      case 'take-in': {
        const bytes = this.#fetched.get(effect.fragment);
        assert(bytes !== undefined, `fragment ${effect.fragment} was to be taken in before it was fetched`);
        this.#fetched.delete(effect.fragment);
        return await this.#thread.takeIn(effect.fragment, { version: effect.version, bytes });
      }
      case 'claim':
        return await this.#claim(effect.plan);
      case 'abandon-claim':
        return this.#uploader.abandon(effect.claim);
      case 'train':
        return await this.#train(effect.plan);
      case 'leave':
        this.#tell(async () => {
          await this.#answerer.finish(answerLimitMs);
          return client.submit('leave', { atMs: nextAtMs(this.#deps, this.#learner) });
        });
        return this.#wake();
      default:
        assertNever(effect);
    }
  }

  /** One after another, and waited for before the miner ends. */
  #tell(submit: () => Promise<SubmitResult>): void {
    this.#leaving = this.#leaving.then(submit).then(
      ({ outcome, code }) => {
        if (outcome === 'reject') this.#deps.log.warn('a goodbye was refused', { code });
      },
      (error) => this.#deps.log.warn('the syncer was not told', { error: String(error) }),
    );
  }

  async #requestLease(): Promise<void> {
    try {
      // The lease itself comes as an event of the journal.
      if ((await this.#deps.client.requestLease()) !== null) return;
    } catch (error) {
      this.#deps.log.debug('no lease', { error: String(error) });
    }
    this.#dispatch({ kind: 'lease-refused' });
  }

  async #fetch(fragment: number, version: number, artifact: ArtifactRef): Promise<void> {
    const { client, clock, log } = this.#deps;
    while (!client.signal.aborted && this.#state.pending.get(fragment)?.version === version) {
      try {
        const { bytes, ...from } = await this.#redone.get(fragment, artifact, client.signal);
        log.debug('fragment at hand', { fragment, version, ...from });
        // A newer version may have come while these bytes travelled.
        if (this.#state.pending.get(fragment)?.version !== version) return;
        this.#fetched.set(fragment, bytes);
        return this.#dispatch({ kind: 'fragment-fetched', fragment, version });
      } catch (error) {
        log.debug('fragment not fetched yet', { fragment, version, error: String(error) });
        await clock.sleep(fetchRetryMs, client.signal).catch(() => {}); // an abort ends the loop
      }
    }
  }

  async #train(plan: TrainPlan): Promise<void> {
    const report = await this.#stepOn(plan);
    const { step, leases, sequences, scheduleTokens, start, takenIn, claimed } = plan;
    this.#trace.add({
      step,
      leases: [...leases],
      sequences: [...sequences],
      scheduleTokens,
      learningRate: toDecimal(report.learningRate),
      start: start === null ? null : [...start],
      takenIn: takenIn.map(([fragment, version]) => [fragment, version]),
      claimed: claimed.map(([fragment, outerStep]) => [fragment, outerStep]),
      stateRoot: report.stateRoot,
    });
    this.#answerer.noteLine({ step, stateRoot: report.stateRoot });
    this.#tokens += report.tokens;
    this.#rate.tokens += report.tokens;
    this.#lastLoss = report.loss;
    this.#routers.add(report.routers);
    if (report.isSkipped) this.#deps.log.warn('step skipped: loss or gradient not finite', { step });
    if (report.stateFault !== null) this.#deps.log.warn('audits may go unanswered', { fault: report.stateFault });
    this.#deps.metrics.count('inner_steps_total');
    this.#deps.onStep?.(plan, report);
    this.#dispatch({ kind: 'step-done' });
  }

  /** The step's text stays while it is read. */
  async #stepOn(plan: TrainPlan): Promise<ThreadStepReport> {
    const cache = this.#shards;
    if (cache === null) return await this.#thread.step(plan);
    const places = [...this.#placesOf(plan.phase, plan.sequences)];
    await this.#hold(cache, places);
    return await this.#thread.step(plan).finally(() => cache.release(places));
  }

  /** One by one: a lease of a large run has 65,536. */
  *#placesOf(phase: number, ranges: readonly Range[]): Generator<TextPlace> {
    for (const position of eachInRanges(ranges)) yield this.#locate(phase, position);
  }

  /** Tried until it works: a store that is away for a while costs time, not the learner. */
  async #hold(cache: ShardCache, places: readonly TextPlace[]): Promise<void> {
    const { client, clock, log } = this.#deps;
    for (;;) {
      try {
        return await cache.hold(places);
      } catch (error) {
        if (client.signal.aborted || !(error instanceof StoreError)) throw error;
        log.warn('text not fetched yet', { error: String(error) });
        await clock.sleep(fetchRetryMs, client.signal);
      }
    }
  }

  async #claim(plan: Extract<MinerEffect, { kind: 'claim' }>['plan']): Promise<void> {
    // The lines are taken now: the next step's line must not slip in while the artifact is made.
    const interval = this.#trace.interval();
    const bytes = await this.#thread.claim(plan.fragment);
    const { outerStep } = plan;
    const body: EventBody<'claim-commit'> = {
      outerStep,
      fragment: plan.fragment,
      baseVersion: plan.baseVersion,
      steps: plan.steps,
      phase: plan.phase,
      sequences: [...plan.sequences],
      artifact: artifactOf(bytes, nodeSha256),
      trace: interval.claim,
    };
    const claim = await this.#uploader.commit(body);
    if (claim === null) return this.#dispatch({ kind: 'claim-failed', outerStep });
    this.#trace.committed(interval);
    this.#dispatch({ kind: 'claim-committed', outerStep, claim });
    const isRevealed = await this.#uploader.reveal(claim, [
      { artifact: body.artifact, bytes, purpose: 'claim' },
      { artifact: interval.claim.artifact, bytes: interval.bytes, purpose: 'trace' },
    ]);
    this.#dispatch(isRevealed ? { kind: 'claim-revealed', claim } : { kind: 'claim-failed', outerStep });
  }

  /** The client has checked and folded the entry: its body has the form of its kind. */
  #onEntry(entry: JournalEntry): void {
    const { kind, body } = entry.message;
    this.#redone.onFold(this.#deps.client.state, entry);
    const as = <K extends EventKind>(_: K): EventBody<K> => body as EventBody<K>;
    if (kind === 'lease') this.#onLease(as(kind));
    else if (kind === 'lease-return') this.#onLeaseReturn(as(kind));
    else if (kind === 'verdict') this.#onVerdict(as(kind));
    else if (kind === 'claim-void') this.#onVoid(as(kind));
    else if (kind === 'phase-change') this.#onPhaseChange(as(kind));
    else if (kind === 'audit-challenge') this.#answerer.answerOpen();
    else if (kind === 'audit-verdict' || kind === 'audit-close') this.#onAuditEnd(as(kind).audit);
    else if (kind === 'fragment-due') {
      const { outerStep, fragment } = as(kind);
      this.#dispatch({ kind, outerStep, fragment });
    } else if (kind === 'fragment-published') {
      const { fragment, version, artifact } = as(kind);
      this.#dispatch({ kind, fragment, version, artifact });
    }
  }

  /** Leases of a phase come after its event: its session is open, and its text known, before their first step. */
  #preparePhase(): void {
    const { state } = this.#deps.client;
    this.#thread.prepare(state.phase, phaseTermsOf(state)).catch((error) => {
      this.#failure ??= error;
      this.#wake();
    });
  }

  #onPhaseChange({ phase, outerStep }: EventBody<'phase-change'>): void {
    const { name, sequenceLength } = phaseOf(this.#deps.client.state, phase);
    this.#deps.log.info('phase changed', { phase, name, outerStep, sequenceLength });
    this.#preparePhase();
  }

  #onLease({ lease, hotkey, name, phase, range, scheduleTokens }: EventBody<'lease'>): void {
    if (learnerIdOf(hotkey, name) !== this.#learner) return;
    this.#shards
      ?.fetchAhead(this.#placesOf(phase, [range]))
      .catch((error) => this.#deps.log.debug('text not fetched ahead', { error: String(error) })); // the step tells
    const batch = batchTermsOf(manifestOf(this.#deps.client.state), phase);
    this.#dispatch({ kind: 'lease-granted', lease: { lease, phase, range, scheduleTokens, batch } });
  }

  #onLeaseReturn({ lease, reason }: EventBody<'lease-return'>): void {
    if (this.#deps.client.state.leases.get(lease)?.learner !== this.#learner) return;
    if (reason === 'expired') this.#deps.log.warn('lease expired', { lease });
    this.#dispatch({ kind: 'lease-ended', lease });
  }

  /** What a refused miner sees: the code, the numbers, the sentence; once, when the committee has decided. */
  #onVerdict({ claim, measurements }: EventBody<'verdict'>): void {
    const settled = this.#deps.client.state.claims.get(claim);
    if (settled?.learner !== this.#learner || settled.status !== 'refused') return;
    const { code, sentence } = settled;
    this.#deps.log.warn('claim refused', { claim, code, sentence, measurements });
  }

  #onVoid({ claim, code, sentence }: EventBody<'claim-void'>): void {
    if (!this.#isMine(claim)) return;
    this.#deps.log.warn('claim voided', { claim, code, sentence });
    this.#dispatch({ kind: 'claim-voided', claim });
  }

  /** A failed audit voids the tempo: the miner sees why at once. */
  #onAuditEnd(id: number): void {
    const audit = this.#deps.client.state.audits.get(id);
    if (audit?.learner !== this.#learner || audit.status !== 'failed') return;
    const { code, sentence, verdicts } = audit;
    this.#deps.log.warn('audit failed', { audit: id, code, sentence, measurements: verdicts[0]?.measurements ?? {} });
  }

  #isMine(claim: Hash): boolean {
    return this.#deps.client.state.claims.get(claim)?.learner === this.#learner;
  }

  async #beat(ended: AbortSignal): Promise<void> {
    const { client, clock, log, metrics } = this.#deps;
    this.#rate.sinceMs = clock.nowMs();
    let routers: ReturnType<typeof routersBody> = {};
    while (!ended.aborted) {
      const atMs = clock.nowMs();
      const spanMs = atMs - this.#rate.sinceMs;
      if (spanMs >= heartbeatMs) {
        this.#rate = { sinceMs: atMs, tokens: 0, perSecond: (this.#rate.tokens / spanMs) * 1000 };
        metrics.gauge('tokens_per_second', this.#rate.perSecond ?? 0);
      }
      const { perSecond } = this.#rate;
      const loss = this.#lastLoss;
      // A beat without a step in between says again what the one before it said.
      const health = this.#routers.take();
      if (health !== null) {
        routers = routersBody(health);
        metrics.gauge('router_entropy', health.entropy);
        metrics.gauge('router_imbalance', health.imbalance);
        metrics.gauge('dead_experts', health.deadExperts);
      }
      await client
        .heartbeat({
          role: 'miner',
          innerSteps: this.#state.innerSteps,
          loss: loss === null || !Number.isFinite(loss) ? null : toDecimal(loss),
          tokensPerSecond: perSecond === null ? null : toDecimal(perSecond),
          rssBytes: this.#deps.rssBytes(),
          ...routers,
          atMs: Math.round(atMs),
        })
        .catch((error) => log.debug('heartbeat not sent', { error: String(error) }));
      await clock.sleep(heartbeatMs, ended).catch(() => {}); // an abort ends the loop
    }
  }
}
