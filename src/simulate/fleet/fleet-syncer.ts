/**
 * @file The syncer of a simulated fleet: the real step on virtual time. Merges take as long as their bytes; what they make has no
 * bytes, only names. It decides nothing.
 */
import type { RunState } from '../../journal/state.ts';
import { hashOfText } from '../../protocol/hash.ts';
import type { RunEvent } from '../../protocol/messages.ts';
import { type Hash, type Hotkey, type LearnerId, toDecimal } from '../../protocol/names.ts';
import type { OpenedEntry } from '../../protocol/signing.ts';
import type { OrchestratorEffect, OrchestratorEvent, OrchestratorState } from '../../roles/orchestrator/events.ts';
import { initialState, leaseFor, step } from '../../roles/orchestrator/step.ts';
import type { EventQueue } from './event-queue.ts';
import type { FleetJournal } from './fleet-journal.ts';
import type { SimulatedSession } from './fleet-keys.ts';
import type { FleetSizes } from './sizes.ts';
import type { SyntheticRoots } from './synthetic-roots.ts';

export interface FleetSyncerOptions {
  readonly queue: EventQueue;
  readonly journal: FleetJournal;
  readonly session: SimulatedSession;
  readonly seed: string;
  readonly sizes: FleetSizes;
  readonly roots: SyntheticRoots;
  readonly tickMs: number;
  readonly mergeBytesPerSecond: number;
  readonly learnersSeen: OrchestratorState['learnersSeen'];
  readonly validatorsSeen: OrchestratorState['validatorsSeen'];
  readonly stakeRao: ReadonlyMap<Hotkey, number>;
}

/** A refused own event is decided again after this, as the shell does it. */
const settleMs = 100;
const releaseMs = 10_000;

type Unstamped<E> = E extends unknown ? Omit<E, 'nowMs'> : never;

export class FleetSyncer {
  #state: OrchestratorState;
  readonly #options: FleetSyncerOptions;
  #toJournal: RunEvent | null = null;
  #isJournaling = false;
  #stopped = false;

  constructor(options: FleetSyncerOptions) {
    this.#options = options;
    const { journal, learnersSeen, validatorsSeen, stakeRao } = options;
    this.#state = { ...initialState(journal.run), learnersSeen, validatorsSeen, stakeRao };
    journal.onEntry((opened) => this.#onEntry(opened));
  }

  get run(): RunState {
    return this.#options.journal.run;
  }

  /** Blocks and ticks from now on. */
  start(): void {
    const { queue, journal, tickMs } = this.#options;
    const { blockMs } = journal.manifest.ledger;
    const startMs = queue.nowMs;
    let number = 0;
    const block = (): void => {
      if (this.#stopped) return;
      this.dispatch({ kind: 'block', block: { number, hash: this.blockHash(number) } });
      number++;
      queue.at(startMs + number * blockMs, block);
    };
    const tick = (): void => {
      if (this.#stopped) return;
      this.dispatch({ kind: 'tick' });
      queue.after(tickMs, tick);
    };
    block();
    tick();
  }

  blockHash(number: number): Hash {
    return hashOfText(`block ${this.#options.seed} ${number}`);
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Whether a lease was given: it comes as an entry of the journal. */
  lease(learner: LearnerId): boolean {
    const { journal, session, queue } = this.#options;
    const record = this.run.learners.get(learner);
    const body = record === undefined ? null : leaseFor(this.#state, record, Math.floor(queue.nowMs));
    if (body === null) return false;
    return journal.submit(session, 'lease', body).outcome === 'accept';
  }

  dispatch(event: Unstamped<OrchestratorEvent>): void {
    const [state, effects] = step(this.#state, {
      ...event,
      nowMs: Math.floor(this.#options.queue.nowMs),
    } as OrchestratorEvent);
    this.#state = state;
    for (const effect of effects) {
      if (effect.kind === 'journal') this.#toJournal = effect.event;
      else this.#work(effect);
    }
    this.#drain();
  }

  /** One own event after another; an entry that is folded meanwhile is told to the step before the next is decided. */
  #drain(): void {
    if (this.#isJournaling) return;
    const { journal, session, queue } = this.#options;
    while (this.#toJournal !== null) {
      const event = this.#toJournal;
      this.#toJournal = null;
      this.#isJournaling = true;
      const { outcome } = journal.submit(session, event.kind, event.body);
      this.#isJournaling = false;
      if (outcome === 'accept') this.dispatch({ kind: 'settled' });
      else queue.after(settleMs, () => this.dispatch({ kind: 'settled' }));
    }
  }

  #onEntry({ message }: OpenedEntry): void {
    this.dispatch({ kind: 'journaled', event: { kind: message.kind, body: message.body } as RunEvent, id: message.id });
  }

  #work(effect: Exclude<OrchestratorEffect, { kind: 'journal' }>) {
    const { queue, journal, session, sizes, mergeBytesPerSecond } = this.#options;
    const done = (): void => this.dispatch({ kind: 'done', key: effect.key });
    if (effect.kind === 'anchor') return queue.after(0, done);
    if (effect.kind === 'write-release')
      return queue.after(releaseMs, () => {
        const artifact = this.#options.roots.next(sizes.parametersBytes);
        const body = { release: effect.release, files: [{ name: 'model.safetensors', artifact }] };
        journal.submit(session, 'release-published', body);
        done();
      });
    const { fragment } = effect;
    const claims = this.run.fragments[fragment]!.pendingMerge?.claims.length ?? 0;
    const mergeMs = (1_000 * claims * sizes.claimBytes[fragment]!) / mergeBytesPerSecond;
    queue.after(mergeMs, () => {
      const failed = (): void => this.dispatch({ kind: 'failed', key: effect.key });
      if (this.#publish(fragment, mergeMs)) done();
      else queue.after(1_000, failed);
    });
  }

  #publish(fragment: number, durationMs: number): boolean {
    const { journal, session, sizes, roots } = this.#options;
    const pending = this.run.fragments[fragment]!.pendingMerge;
    if (pending === null) return true;
    const shares = pending.claims.map(({ claim }) => {
      const [from, to] = this.run.claims.get(claim)!.body.steps;
      const norm = toDecimal(Math.sqrt(to - from));
      return { claim, share: toDecimal(1 / pending.claims.length), norm, clippedNorm: norm };
    });
    const body = {
      outerStep: pending.outerStep,
      fragment,
      version: pending.fromVersion + 1,
      artifact: roots.next(sizes.fragmentBytes[fragment]!),
      momentum: roots.next(sizes.fragmentBytes[fragment]!),
      shares,
      durationMs: Math.round(durationMs),
    };
    return journal.submit(session, 'fragment-published', body).outcome === 'accept';
  }
}
