/**
 * @file A validator of a simulated fleet: the real step on virtual time. What it finds is known to the simulator: honest work is
 * good, a freeloader's steps cannot be redone. Checks take as long as their share of a machine.
 */

import { manifestOf, mergesInSegment } from '../../journal/queries.ts';
import { weightsOf } from '../../journal/scores.ts';
import { fromDecimal, type Hash, type Hotkey, toDecimal } from '../../protocol/names.ts';
import type { ValidatorEffect, ValidatorEvent, ValidatorState } from '../../roles/validator/events.ts';
import { step } from '../../roles/validator/step.ts';
import { assertNever } from '../../util/errors.ts';
import type { Judging } from './attacked-fleet.ts';
import type { EventQueue } from './event-queue.ts';
import type { FleetJournal } from './fleet-journal.ts';
import type { SimulatedHotkey, SimulatedSession } from './fleet-keys.ts';
import { modelledLoss } from './loss-model.ts';
import type { FleetSizes } from './sizes.ts';

export interface FleetValidatorOptions {
  readonly hotkey: SimulatedHotkey;
  readonly session: SimulatedSession;
  readonly queue: EventQueue;
  readonly journal: FleetJournal;
  readonly sizes: FleetSizes;
  readonly tokensPerSecond: number;
  readonly checkMs: number;
  readonly isFreeloader: (hotkey: Hotkey) => boolean;
  /** Where somebody attacks: it reads what lies under the roots, or lies. */
  readonly judging?: Judging;
  readonly setWeights: (weights: ReadonlyMap<Hotkey, number>) => void;
  readonly block: () => number;
}

/** A forward pass costs a third of training on as many tokens. */
const forwardShare = 1 / 3;

export class FleetValidator {
  readonly options: FleetValidatorOptions;
  /** Virtual time spent on claims and on replays. */
  readonly workMs = { claims: 0, replays: 0 };
  #state: ValidatorState;

  constructor(options: FleetValidatorOptions) {
    this.options = options;
    const { journal, hotkey } = options;
    this.#state = {
      run: journal.run,
      hotkey: hotkey.hotkey,
      busy: null,
      replaying: null,
      lastFailed: null,
      sent: new Set(),
      weightsTempo: journal.run.tempo.index,
      block: 0,
      weightsBlock: null,
    };
  }

  dispatch(event: ValidatorEvent): void {
    const [state, effects] = step(this.#state, event);
    this.#state = state;
    for (const effect of effects)
      this.options.queue.after(this.#durationMs(effect), () => {
        this.#finish(effect);
        this.dispatch({ kind: 'done', key: effect.key });
      });
  }

  #durationMs(effect: ValidatorEffect): number {
    const { journal, tokensPerSecond, checkMs } = this.options;
    const { evaluation, phases, recipe, sync } = manifestOf(journal.run);
    const { sequenceLength } = phases[journal.run.phase]!;
    const forwardMs = (sequences: number): number =>
      (1_000 * forwardShare * sequences * sequenceLength) / tokensPerSecond;
    switch (effect.kind) {
      case 'check-claim': {
        const isTested = journal.run.claims.get(effect.claim)?.beacon?.gainTested === true;
        const ms = checkMs + (isTested ? 2 * forwardMs(evaluation.gainSequences) : 0);
        this.workMs.claims += ms;
        return ms;
      }
      case 'redo-segment': {
        const ms = (1_000 * sync.stateRootEverySteps * recipe.batchSequences * sequenceLength) / tokensPerSecond;
        this.workMs.replays += ms;
        return ms;
      }
      case 'attest-segment':
        return 10_000;
      case 'evaluate-release':
        return forwardMs(2 * evaluation.heldOutSequences);
      case 'set-weights':
        return 0;
      default:
        return assertNever(effect);
    }
  }

  #finish(effect: ValidatorEffect) {
    const { journal, session, setWeights, sizes } = this.options;
    const { run } = journal;
    switch (effect.kind) {
      case 'check-claim':
        return this.#judge(effect.claim, effect.round);
      case 'redo-segment':
        return this.#redo(effect.audit);
      case 'attest-segment': {
        const { release } = effect;
        const { stateHash } = run.releases[release]!.body;
        journal.submit(session, 'segment-attested', { release, stateHash, merges: mergesInSegment(run, release) });
        return;
      }
      case 'evaluate-release': {
        const counted = fromDecimal(run.releases[effect.release]!.body.countedTokens);
        const losses = { 'held-out': toDecimal(modelledLoss(sizes, counted)) };
        const sequences = manifestOf(run).evaluation.heldOutSequences;
        journal.submit(session, 'evaluation', { release: effect.release, losses, sequences });
        return;
      }
      case 'set-weights':
        return setWeights(weightsOf(run));
      default:
        assertNever(effect);
    }
  }

  #judge(id: Hash, round: 'committee' | 'recheck' | 'ruling'): void {
    const { journal, session, isFreeloader, judging } = this.options;
    const claim = journal.run.claims.get(id);
    if (claim === undefined) return;
    const judged = judging?.verdict(claim, round);
    if (judged !== undefined) {
      journal.submit(session, 'verdict', judged);
      return;
    }
    const gain = isFreeloader(claim.hotkey) ? '0' : '0.001';
    const measurements = {
      normRatio: toDecimal(1),
      ...(claim.beacon?.gainTested === true ? { gain: toDecimal(Number(gain)), gainError: toDecimal(0.0001) } : {}),
    };
    const verdict = { claim: id, round, outcome: 'accept' as const, code: 'OK' as const, sentence: '' };
    journal.submit(session, 'verdict', { ...verdict, measurements, details: null, accused: [] });
  }

  #redo(id: number): void {
    const { journal, session, isFreeloader, judging } = this.options;
    const audit = journal.run.audits.get(id);
    if (audit === undefined) return;
    const judged = judging?.audit(audit);
    if (judged !== undefined) {
      journal.submit(session, 'audit-verdict', { audit: id, ...judged });
      return;
    }
    const isGood = !isFreeloader(audit.body.hotkey);
    const finding = isGood
      ? { outcome: 'pass' as const, code: 'OK' as const, sentence: '', measurements: {} }
      : {
          outcome: 'fail' as const,
          code: 'REPLAY' as const,
          sentence: 'redoing the steps leads elsewhere',
          measurements: {},
        };
    journal.submit(session, 'audit-verdict', { audit: id, ...finding });
  }

  tick(): void {
    this.dispatch({ kind: 'tick', block: this.options.block() });
  }
}
