/**
 * @file What simulated artifacts would hold, by their roots: states, claims, trace lines, details. Training is a hash: the state
 * after a step is the hash of the state before it and of what the step read, so whoever redoes the same steps comes to the
 * same root, and whoever did others does not. Nothing here says who is honest.
 */
import { hashOfText } from '../../protocol/hash.ts';
import type { Hash, Hotkey, LearnerId } from '../../protocol/names.ts';
import type { TrainPlan } from '../../roles/miner/events.ts';

/** What the bytes of a claim decode to. */
export interface ClaimContent {
  /** False: no fragment at all. */
  readonly isFragment: boolean;
  /** Per √(inner steps); the usual one is 1. */
  readonly norm: number;
  /** Loss that it takes away, nats a token: a stated number, since nothing is trained. */
  readonly gain: number;
  /** The claim that its values were copied from. */
  readonly copyOf: Hash | null;
}

export const honestContent: ClaimContent = { isFragment: true, norm: 1, gain: 0.001, copyOf: null };

export interface Line extends Pick<TrainPlan, 'step' | 'sequences' | 'start' | 'takenIn' | 'claimed'> {
  /** Root of the state after it, as the trace names it. */
  readonly stateRoot: Hash | null;
}

/** Lines that are kept for a learner: more than its auditable segments have. */
const keptLines = 4_096;

/** Everything that was ever uploaded, and each learner's trace. */
export class SimulatedBytes {
  readonly claims = new Map<Hash, ClaimContent>();
  /** Root of a state: the inner steps that it says were taken. */
  readonly states = new Map<Hash, number>();
  /** Root of published details: whose test of which claim it is. */
  readonly details = new Map<Hash, { readonly claim: Hash; readonly validator: Hotkey }>();
  readonly #lines = new Map<LearnerId, Map<number, Line>>();

  addLine(learner: LearnerId, line: Line): void {
    let own = this.#lines.get(learner);
    if (own === undefined) this.#lines.set(learner, (own = new Map()));
    // Written again after a crash: the newest is the committed one, as a new life begins at the committed length.
    own.delete(line.step);
    own.set(line.step, line);
    if (own.size > keptLines) own.delete(own.keys().next().value!);
  }

  lineOf(learner: LearnerId, step: number): Line | undefined {
    return this.#lines.get(learner)?.get(step);
  }
}

/** Of fragments at these versions, with zero moments. */
export const startRoot = (versions: readonly number[]): Hash => hashOfText(`start ${versions.join()}`);

/** The pseudo-gradient of a fragment between two steps; `takenIn`: its version, if it was taken in since the last step. */
export const claimRoot = (state: Hash, fragment: number, takenIn: number | undefined): Hash =>
  hashOfText(`claim ${state} ${fragment} ${takenIn ?? ''}`);

export const stepRoot = (
  state: Hash,
  { step, sequences, takenIn, claimed }: Pick<Line, 'step' | 'sequences' | 'takenIn' | 'claimed'>,
): Hash => hashOfText(`step ${state} ${step} ${sequences.join(' ')} ${takenIn.join(' ')} ${claimed.join(' ')}`);
