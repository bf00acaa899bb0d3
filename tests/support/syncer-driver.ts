/**
 * @file The orchestrator's step over a test run's real fold: what the step wants journaled is admitted and folded at once,
 * as the shell does it; what members send goes the same way. Time and blocks are moved by hand.
 */
import type { Claim } from '../../src/journal/state.ts';
import { hashOfText } from '../../src/protocol/hash.ts';
import type { RunManifest } from '../../src/protocol/manifest.ts';
import type { RunEvent } from '../../src/protocol/messages.ts';
import type { Hash } from '../../src/protocol/names.ts';
import type { OrchestratorEffect, OrchestratorEvent, OrchestratorState } from '../../src/roles/orchestrator/events.ts';
import { initialState, liveLearners, step } from '../../src/roles/orchestrator/step.ts';
import { DrivenRun, type Member } from './run-driver.ts';
import { codeOf } from './run-fixture.ts';

type Sent<E> = E extends unknown ? Omit<E, 'nowMs'> : never;
type Work = Exclude<OrchestratorEffect, { kind: 'journal' }>;

export const blockHashOf = (number: number): Hash => hashOfText(`ledger block ${number}`);

export class SyncerDriver {
  readonly run: DrivenRun;
  state: OrchestratorState;
  /** Own events that were journaled, oldest first. */
  readonly journaled: RunEvent[] = [];
  /** Codes of own events that the fold refused: none, if the step knows the rules. */
  readonly refused: string[] = [];
  /** How each merge came about. */
  readonly merges: { readonly learners: number; readonly live: number; readonly isLate: boolean }[] = [];
  readonly work: Work[] = [];
  /** False: effects are only collected in `wanted`, nothing is journaled. */
  isJournaling = true;
  readonly wanted: RunEvent[] = [];
  blockNumber = 100;

  constructor(changes: Partial<RunManifest> = {}) {
    this.run = new DrivenRun(changes);
    this.state = initialState(this.run.state);
  }

  get kinds(): string[] {
    return this.journaled.map(({ kind }) => kind);
  }

  dispatch(event: Sent<OrchestratorEvent>): void {
    const [state, effects] = step(this.state, { ...event, nowMs: this.run.nowMs } as OrchestratorEvent);
    this.state = state;
    for (const effect of effects) {
      if (effect.kind !== 'journal') this.work.push(effect);
      else if (this.isJournaling) this.#journal(effect.event);
      else this.wanted.push(effect.event);
    }
  }

  #journal(event: RunEvent): void {
    if (event.kind === 'merge') {
      const { claims } = this.run.state;
      const learners = new Set(event.body.claims.map(({ claim }) => claims.get(claim)!.learner)).size;
      const isLate = this.run.nowMs >= this.run.state.due!.deadlineMs;
      this.merges.push({ learners, live: [...liveLearners(this.state, this.run.nowMs)].length, isLate });
    }
    const admission = this.run.send(event.kind, event.body);
    if (admission.outcome === 'accept') {
      this.journaled.push(event);
      this.tell();
    } else this.refused.push(`${event.kind}: ${admission.code}`);
    // A refused event must not be decided again without end: the test looks at `refused`.
    if (admission.outcome === 'accept') this.dispatch({ kind: 'settled' });
  }

  /** Reports the newest entry to the step. */
  tell(): void {
    const { kind, body, id } = this.run.entries.at(-1)!.message;
    this.dispatch({ kind: 'journaled', event: { kind, body } as RunEvent, id });
  }

  /** A restart of the syncer: all but the journal is forgotten. */
  restart(): void {
    this.state = initialState(this.run.state);
    this.work.length = 0;
  }

  wait(ms: number): void {
    this.run.nowMs += ms;
    this.dispatch({ kind: 'tick' });
  }

  blocks(count = 1): void {
    for (let i = 0; i < count; i++) {
      this.blockNumber++;
      this.dispatch({ kind: 'block', block: { number: this.blockNumber, hash: blockHashOf(this.blockNumber) } });
    }
  }

  beat(role: 'miner' | 'validator', ...members: readonly Member[]): void {
    for (const { hotkey, id } of members)
      this.dispatch({ kind: 'heartbeat', role, hotkey: hotkey.hotkey, learner: id });
  }

  /** First block, stake, and a heartbeat of every validator; release 0 and the first tempo are journaled on the way. */
  start(): void {
    this.blocks();
    const stakeRao = new Map(this.run.validators.map(({ hotkey }, i) => [hotkey.hotkey, 1_000 * (i + 1)]));
    this.dispatch({ kind: 'stake', stakeRao });
    this.beat('validator', ...this.run.validators);
  }

  join(...miners: readonly Member[]): void {
    for (const miner of miners) {
      this.run.nowMs++;
      this.#must(this.run.join(miner));
    }
  }

  /** With a lease, if it needs one. */
  commit(miner: Member): Claim {
    if (this.run.state.learners.get(miner.id)!.leases.size === 0) this.#must(this.run.lease(miner));
    this.#must(this.run.commit(miner, 0));
    return [...this.run.state.claims.values()].at(-1)!;
  }

  reveal(claim: Claim): void {
    this.#must(this.run.reveal(claim));
  }

  judge(claim: Claim, said = 2): void {
    while (claim.status === 'revealed') this.#must(this.run.verdict(claim, said));
  }

  /** From commit to settlement. */
  claim(miner: Member): Claim {
    const claim = this.commit(miner);
    this.reveal(claim);
    this.blocks(2);
    this.judge(claim);
    return claim;
  }

  /** Publishes the pending merge, as the shell does when it is computed. */
  publish(): void {
    this.#must(this.run.publish());
  }

  leave(miner: Member): void {
    this.run.nowMs++;
    this.#must(this.run.leave(miner));
  }

  #must(admission: ReturnType<DrivenRun['send']> | null): void {
    if (admission === null || admission.outcome !== 'accept')
      throw new Error(`a member's event was refused: ${admission === null ? 'no sense' : codeOf(admission)}`);
    this.tell();
  }
}
