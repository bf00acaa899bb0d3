/**
 * @file What a simulated learner does between the decisions of its miner, where somebody attacks: it steps, claims and answers
 * audits over hashes (`simulated-bytes.ts`). An attacker overrides parts of it.
 */
import type { Audit, RunState } from '../../journal/state.ts';
import type { ArtifactRef } from '../../protocol/manifest.ts';
import type { EventBody } from '../../protocol/messages.ts';
import type { Hash, Hotkey, LearnerId } from '../../protocol/names.ts';
import type { TrainPlan } from '../../roles/miner/events.ts';
import {
  type ClaimContent,
  claimRoot,
  honestContent,
  type SimulatedBytes,
  startRoot,
  stepRoot,
} from './simulated-bytes.ts';
import type { FleetSizes } from './sizes.ts';
import type { SyntheticRoots } from './synthetic-roots.ts';

export interface WorkOptions {
  readonly learner: LearnerId;
  readonly hotkey: Hotkey;
  /** The fold: public. */
  readonly run: RunState;
  readonly bytes: SimulatedBytes;
  readonly sizes: FleetSizes;
  readonly roots: SyntheticRoots;
}

export class LearnerWork {
  /** What it commits to is uploaded and revealed. */
  readonly reveals: boolean = true;
  protected readonly options: WorkOptions;
  /** After the last step that was truly done. */
  protected state: Hash = startRoot([]);
  #takenIn = new Map<number, number>();

  constructor(options: WorkOptions) {
    this.options = options;
  }

  takeIn(fragment: number, version: number): void {
    this.#takenIn.set(fragment, version);
  }

  /** Part of an inner step's time that this one takes. */
  begin(plan: TrainPlan): number {
    this.#takenIn = new Map();
    if (plan.start !== null) this.state = startRoot(plan.start);
    return this.does(plan) ? 1 : idleShare;
  }

  /** Whether the step was truly done; its line goes into the trace in any case. */
  finish(plan: TrainPlan): boolean {
    const { learner, bytes } = this.options;
    const isDone = this.does(plan);
    if (isDone) {
      this.state = stepRoot(this.state, this.reads(plan));
      if (plan.withStateRoot) bytes.states.set(this.state, plan.step + 1);
    }
    const { step, sequences, start, takenIn, claimed } = plan;
    const stateRoot = plan.withStateRoot ? this.namedState() : null;
    bytes.addLine(learner, { step, sequences, start, takenIn, claimed, stateRoot });
    return isDone;
  }

  claim(fragment: number): ArtifactRef {
    const { bytes, sizes, roots } = this.options;
    const content = this.content(fragment);
    const isWork = content === honestContent;
    const root = isWork ? claimRoot(this.state, fragment, this.#takenIn.get(fragment)) : roots.hash();
    bytes.claims.set(root, content);
    return { root, sizeBytes: sizes.claimBytes[fragment]! };
  }

  /** What it shows where the states at the ends of a segment are asked for: those that its trace names. */
  answer({ body: { steps }, isFirst }: Audit): Omit<EventBody<'audit-answer'>, 'audit'> {
    const { learner, bytes, sizes, roots } = this.options;
    const at = (step: number): ArtifactRef => {
      const root = bytes.lineOf(learner, step - 1)?.stateRoot ?? roots.hash();
      return { root, sizeBytes: sizes.stateBytes };
    };
    return { start: isFirst ? null : at(steps[0]), end: at(steps[1]) };
  }

  protected does(_plan: TrainPlan): boolean {
    return true;
  }

  protected reads(plan: TrainPlan): TrainPlan {
    return plan;
  }

  protected namedState(): Hash {
    return this.state;
  }

  /** `honestContent` itself: what the steps give, under the root that they give. */
  protected content(_fragment: number): ClaimContent {
    return honestContent;
  }
}

/** Whoever does no step is done at once; leases bound what it can claim, and a step of no time would end no simulation. */
export const idleShare = 0.1;
