/**
 * @file A miner of a simulated fleet: the real step on virtual time; training takes as long as the machine needs and changes
 * nothing, bytes are sizes that travel. It counts what was truly done, whatever becomes of it.
 */
import { phaseOf } from '../../journal/queries.ts';
import type { Learner as LearnerRecord } from '../../journal/state.ts';
import type { EventBody } from '../../protocol/messages.ts';
import { type Hash, type LearnerId, learnerIdOf } from '../../protocol/names.ts';
import type { MinerEffect, MinerEvent, MinerRules, MinerState, TrainPlan } from '../../roles/miner/events.ts';
import { initialMinerState, stepMiner } from '../../roles/miner/step.ts';
import { assertNever } from '../../util/errors.ts';
import { countRanges } from '../../util/ranges.ts';
import type { EventQueue } from './event-queue.ts';
import type { FleetJournal } from './fleet-journal.ts';
import type { SimulatedHotkey, SimulatedSession } from './fleet-keys.ts';
import type { FleetSyncer } from './fleet-syncer.ts';
import type { LearnerWork } from './learner-work.ts';
import type { Machine } from './machine.ts';
import type { FleetSizes } from './sizes.ts';
import type { SyntheticRoots } from './synthetic-roots.ts';

export interface FleetMinerOptions {
  readonly name: string;
  readonly hotkey: SimulatedHotkey;
  readonly session: SimulatedSession;
  readonly machine: Machine;
  readonly queue: EventQueue;
  readonly journal: FleetJournal;
  readonly syncer: FleetSyncer;
  readonly sizes: FleetSizes;
  readonly roots: SyntheticRoots;
  readonly rules: MinerRules;
  /** Claims steps that it does not do: its inner steps take a tenth of the time, and no replay finds them. */
  readonly isFreeloader: boolean;
  /** Where somebody attacks: what it does in its steps, over hashes; without, roots are only names. */
  readonly work?: LearnerWork;
  readonly onTokens: (tokens: number) => void;
  /** It was up and is no more, in the eyes of the syncer. */
  readonly onSilence: (learner: LearnerId) => void;
}

const year = 365 * 86_400_000;
const freeloaderSpeedup = 10;
/** A request that is cut off is made again after this. */
const retryMs = 3_000;

type Unstamped<E> = E extends unknown ? Omit<E, 'nowMs'> : never;

export class FleetMiner {
  readonly id: LearnerId;
  readonly options: FleetMinerOptions;
  /** Tokens of inner steps truly done, and the steps. */
  tokens = 0;
  steps = 0;
  firstJoinMs: number | null = null;
  /** Virtual time in which it had a lease and a machine to train on, or waited with one. */
  upMs = 0;
  #upSinceMs: number | null = null;
  /** Null: off, or not there yet. */
  #state: MinerState | null = null;
  /** Counts its lives: what an earlier one began is nobody's any more. */
  #life = 0;
  #isWanted = false;
  /** Each open claim's upload, so that a voided one is given up. */
  readonly #abandoned = new Set<Hash>();

  constructor(options: FleetMinerOptions) {
    this.options = options;
    this.id = learnerIdOf(options.hotkey.hotkey, options.name);
  }

  get isUp(): boolean {
    return this.#state !== null && this.options.machine.isReachable;
  }

  get isJoined(): boolean {
    return this.#state !== null;
  }

  get isTraining(): boolean {
    return this.#state?.isStepping === true && !this.options.machine.isStanding;
  }

  /** The time since it came, if it is up, included. */
  get upMsSoFar(): number {
    return this.upMs + (this.#upSinceMs === null ? 0 : this.options.queue.nowMs - this.#upSinceMs);
  }

  /** Machine on: fetches what it begins from, and joins. */
  start(): void {
    if (this.#isWanted) return;
    this.#isWanted = true;
    const life = ++this.#life;
    const { machine, sizes } = this.options;
    const bytes = sizes.fragmentBytes.reduce((sum, each) => sum + each, 0);
    machine.forgetTransfers();
    this.#after(machine.downloadMs(bytes), life, () => this.#join(life));
  }

  /** The power goes, and with it what was not claimed. */
  crash(): void {
    this.#isWanted = false;
    if (this.#state !== null) this.options.onSilence(this.id);
    this.#end();
  }

  /** Asks for a clean leave. */
  stop(): void {
    this.#isWanted = false;
    if (this.#state === null) this.#end();
    else this.dispatch({ kind: 'stop' });
  }

  dispatch(event: Unstamped<MinerEvent>): void {
    if (this.#state === null) return;
    const [state, effects] = stepMiner(this.#state, { ...event, nowMs: this.options.queue.nowMs } as MinerEvent);
    this.#state = state;
    for (const effect of effects) this.#perform(effect);
  }

  onVoid(claim: Hash): void {
    this.dispatch({ kind: 'claim-voided', claim });
  }

  /** The states that an audit asks for travel to the store, beside the claims. */
  onAudit({ audit: id, answersStart }: { readonly audit: number; readonly answersStart: boolean }): void {
    const { machine, sizes, roots, journal, session, work } = this.options;
    const life = this.#life;
    if (this.#state === null) return;
    const bytes = (answersStart ? 2 : 1) * sizes.stateBytes;
    const transfer = machine.uploadBehind(bytes);
    const answer = (): void => {
      // Claims came beside it.
      const leftMs = transfer.endMs - this.options.queue.nowMs;
      if (leftMs > 0) return void this.#after(leftMs, life, answer);
      const shown = work?.answer(journal.run.audits.get(id)!);
      if (shown !== undefined) return void journal.submit(session, 'audit-answer', { audit: id, ...shown });
      const start = answersStart ? roots.next(sizes.stateBytes) : null;
      journal.submit(session, 'audit-answer', { audit: id, start, end: roots.next(sizes.stateBytes) });
    };
    this.#after(transfer.endMs - this.options.queue.nowMs, life, answer);
  }

  #join(life: number) {
    const { journal, hotkey, session, name, rules, queue, machine } = this.options;
    if (!machine.isReachable) return this.#after(retryMs, life, () => this.#join(life));
    const atMs = Math.round(queue.nowMs);
    if (!journal.run.sessions.has(session.sessionKey)) {
      const { sessionKey } = session;
      const body = { hotkey: hotkey.hotkey, role: 'miner' as const, name, sessionKey };
      journal.submit(hotkey, 'delegate', { ...body, issuedAtMs: atMs, expiresAtMs: atMs + year });
    }
    const capabilities = { threads: 1, memoryGib: 1, machineClass: 'simulated' };
    const joinedAtMs = Math.max(atMs, (this.#record()?.lastAtMs ?? 0) + 1);
    const { outcome } = journal.submit(session, 'join', { ...capabilities, atMs: joinedAtMs });
    if (outcome === 'reject') return this.#after(retryMs, life, () => this.#join(life));
    const { fragments, due } = journal.run;
    const record = this.#record()!;
    this.firstJoinMs ??= queue.nowMs;
    this.#upSinceMs = queue.nowMs;
    this.#state = initialMinerState({
      rules,
      innerSteps: record.innerSteps,
      versions: fragments.map(({ version }) => version),
      lastClaimedOuterStep: Math.max(-1, ...record.claimedOuterStep),
    });
    if (due !== null) this.dispatch({ kind: 'fragment-due', outerStep: due.outerStep, fragment: due.fragment });
    this.dispatch({ kind: 'joined' });
  }

  #record(): LearnerRecord | undefined {
    return this.options.journal.run.learners.get(this.id);
  }

  #end(): void {
    this.#life++;
    this.#state = null;
    this.#abandoned.clear();
    this.options.machine.forgetTransfers();
    if (this.#upSinceMs !== null) this.upMs += this.options.queue.nowMs - this.#upSinceMs;
    this.#upSinceMs = null;
  }

  /** At the end of a simulation: the time of those that are still up counts too. */
  settle(): void {
    if (this.#upSinceMs !== null) this.upMs += this.options.queue.nowMs - this.#upSinceMs;
    this.#upSinceMs = null;
  }

  #after(delayMs: number, life: number, action: () => void): void {
    this.options.queue.after(delayMs, () => {
      if (life === this.#life) action();
    });
  }

  #perform(effect: MinerEffect) {
    const { machine, journal, session, sizes } = this.options;
    const life = this.#life;
    switch (effect.kind) {
      case 'request-lease':
        return this.#after(machine.roundTripMs(), life, () => this.#requestLease(life));
      case 'return-lease':
        return this.#after(machine.roundTripMs(), life, () => {
          journal.submit(session, 'lease-return', { lease: effect.lease, reason: 'returned' });
        });
      case 'fetch-fragment': {
        const { fragment, version } = effect;
        const ms = machine.downloadMs(sizes.fragmentBytes[fragment]!);
        return this.#after(ms, life, () => this.dispatch({ kind: 'fragment-fetched', fragment, version }));
      }
      case 'take-in':
        return this.options.work?.takeIn(effect.fragment, effect.version);
      case 'claim':
        return this.#commit(effect.plan, life);
      case 'abandon-claim':
        this.#abandoned.add(effect.claim);
        return;
      case 'train':
        return this.#train(effect.plan, life);
      case 'leave':
        return this.#after(machine.roundTripMs(), life, () => {
          const atMs = Math.max(Math.round(this.options.queue.nowMs), (this.#record()?.lastAtMs ?? 0) + 1);
          journal.submit(session, 'leave', { atMs });
          this.#end();
        });
      default:
        assertNever(effect);
    }
  }

  #requestLease(life: number) {
    if (this.options.syncer.lease(this.id)) return; // it comes as an entry
    this.dispatch({ kind: 'lease-refused' });
    this.#after(this.options.rules.leaseRetryMs, life, () => this.dispatch({ kind: 'tick' }));
  }

  #train(plan: TrainPlan, life: number): void {
    const { machine, journal, isFreeloader, work } = this.options;
    const stepTokens = countRanges(plan.sequences) * phaseOf(journal.run, plan.phase).sequenceLength;
    const share = work?.begin(plan) ?? (isFreeloader ? 1 / freeloaderSpeedup : 1);
    this.#after(machine.stepMs(stepTokens) * share, life, () => {
      if (work?.finish(plan) ?? !isFreeloader) {
        this.tokens += stepTokens;
        this.steps++;
        this.options.onTokens(stepTokens);
      }
      this.dispatch({ kind: 'step-done' });
    });
  }

  /** The lines of its trace so far go with the claim; a redone commit names the same. */
  #commit(plan: Extract<MinerEffect, { kind: 'claim' }>['plan'], life: number) {
    const { machine, roots, sizes } = this.options;
    const { innerSteps, traceHead } = this.#record()!;
    const body: EventBody<'claim-commit'> = {
      ...plan,
      sequences: [...plan.sequences],
      artifact: this.options.work?.claim(plan.fragment) ?? roots.next(sizes.claimBytes[plan.fragment]!),
      trace: {
        artifact: roots.next(traceLineBytes * (plan.steps[1] - innerSteps)),
        lines: [innerSteps, plan.steps[1]],
        previousHead: traceHead,
        head: roots.hash(),
      },
    };
    this.#after(machine.roundTripMs(), life, () => this.#committed(body, life));
  }

  #committed(body: EventBody<'claim-commit'>, life: number) {
    const { journal, session, machine } = this.options;
    const { outcome, id } = journal.submit(session, 'claim-commit', body);
    const { outerStep } = body;
    if (outcome !== 'accept') return this.dispatch({ kind: 'claim-failed', outerStep });
    this.dispatch({ kind: 'claim-committed', outerStep, claim: id });
    if (this.options.work?.reveals === false) return this.dispatch({ kind: 'claim-revealed', claim: id });
    const bytes = body.artifact.sizeBytes + body.trace.artifact.sizeBytes;
    this.#after(machine.uploadMs(bytes), life, () => {
      if (this.#abandoned.delete(id)) return;
      const revealed = journal.submit(session, 'claim-reveal', { claim: id });
      const isRevealed = revealed.outcome === 'accept';
      this.dispatch(isRevealed ? { kind: 'claim-revealed', claim: id } : { kind: 'claim-failed', outerStep });
    });
  }
}

/** Bytes of a trace's line as the real ones have them, about (`docs/experiments.md`). */
const traceLineBytes = 260;
