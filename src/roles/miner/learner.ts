/**
 * @file A learner: the model, its optimiser, its view of the fragments and the text it reads, for one run. Does what it
 * is told in the order it is told; holds the thread while a step runs (`learner-thread.ts` gives it one of its own).
 */

import type { Sequence, TokenIds } from '../../data/shards.ts';
import type { Device } from '../../engine/device.ts';
import { decodeFragment } from '../../merge/codecs/fragment-file.ts';
import type { FragmentPlan } from '../../merge/fragment-plan.ts';
import { unpackFragment } from '../../merge/fragment-values.ts';
import { endOfTextOf } from '../../model/quasar-long/config.ts';
import { floatsOf } from '../../model/quasar-long/init.ts';
import type { Sha256 } from '../../protocol/hash.ts';
import type { Phase, RunManifest } from '../../protocol/manifest.ts';
import type { Hash } from '../../protocol/names.ts';
import { InnerLoop, type InnerStepResult } from '../../training/inner-loop.ts';
import type { ModelState } from '../../training/model-state.ts';
import type { InnerOptimizer } from '../../training/optimizer.ts';
import { allocateForRecipe, createOptimizer, loopOptions } from '../../training/recipe.ts';
import { learningRateAt } from '../../training/schedule.ts';
import { stateRootOf } from '../../training/state-root.ts';
import { assert } from '../../util/errors.ts';
import { eachInRanges } from '../../util/ranges.ts';
import { type RunData, runDataOf } from '../run-data.ts';
import { runModelOf } from '../run-model.ts';
import type { TrainPlan } from './events.ts';
import { LearnerFragments } from './learner-fragments.ts';

export interface LearnerOptions {
  readonly manifest: RunManifest;
  readonly threads: number;
  /** Default cpu. */
  readonly device?: Device;
  /** Absolute state of every fragment, as published (f32). */
  readonly start: readonly Uint8Array[];
  /** Frozen tensors of the start checkpoint; null where the recipe freezes none. */
  readonly frozen: Uint8Array | null;
  readonly loaded: ReadonlyMap<string, TokenIds>;
  readonly hash: Sha256;
}

export interface StepReport extends InnerStepResult {
  readonly learningRate: number;
  /** After the step, where the plan asks for it. */
  readonly stateRoot: Hash | null;
}

export class Learner {
  readonly #options: LearnerOptions;
  readonly #plan: FragmentPlan;
  readonly #model: ModelState;
  readonly #optimizer: InnerOptimizer;
  readonly #fragments: LearnerFragments;
  readonly #data: RunData;
  /** By sequence length. */
  readonly #loops = new Map<number, InnerLoop>();

  /** Zero moments, parameters as published. @throws CodecError, TrainingError BAD_CHECKPOINT, RoleError WRONG_RUN */
  constructor(options: LearnerOptions) {
    const { manifest, start } = options;
    const { recipe } = manifest;
    const { config, plan } = runModelOf(manifest);
    this.#options = options;
    this.#plan = plan;
    this.#data = runDataOf(manifest, options.loaded, endOfTextOf(config));
    this.#model = allocateForRecipe(config, manifest.seed, recipe);
    plan.fragments.forEach((fragment, id) => {
      unpackFragment(fragment, decodeFragment('f32', fragment, start[id]!), this.#tensor);
    });
    assert(
      (options.frozen === null) === (recipe.frozen === undefined),
      'frozen tensors come with a recipe that freezes',
    );
    if (options.frozen !== null) this.#model.frozen.load(options.frozen);
    this.#optimizer = createOptimizer(this.#model, recipe, options.threads, options.device);
    this.#fragments = new LearnerFragments(plan, this.#tensor, manifest.codec);
  }

  /** Opens the session of a phase before its first step is due. */
  async prepare(phase: number): Promise<void> {
    await this.#loopOf(this.#phase(phase));
  }

  async step(plan: TrainPlan): Promise<StepReport> {
    const phase = this.#phase(plan.phase);
    const loop = await this.#loopOf(phase);
    const learningRate = learningRateAt(phase.schedule, plan.scheduleTokens) * plan.warmup;
    const result = await loop.step(this.#read(plan), learningRate);
    return { ...result, learningRate, stateRoot: plan.withStateRoot ? this.#stateRoot() : null };
  }

  /** The encoded pseudo-gradient of a fragment since its last claim. */
  claim(fragment: number): Uint8Array {
    return this.#fragments.claim(fragment);
  }

  /** `published`: a version's absolute state (f32). @throws CodecError */
  takeIn(fragment: number, published: Uint8Array): void {
    this.#fragments.takeIn(fragment, decodeFragment('f32', this.#plan.fragments[fragment]!, published));
  }

  async close(): Promise<void> {
    for (const loop of this.#loops.values()) await loop.close();
    this.#loops.clear();
    await this.#optimizer.close();
  }

  readonly #tensor = (name: string): Float32Array => floatsOf(this.#model.tensors, name);

  #phase(index: number): Phase {
    return this.#options.manifest.phases[index]!;
  }

  #read(plan: TrainPlan): Sequence[] {
    return Array.from(eachInRanges(plan.sequences), (position) => this.#data.sequenceAt(plan.phase, position));
  }

  async #loopOf({ sequenceLength: seqLen }: Phase): Promise<InnerLoop> {
    const known = this.#loops.get(seqLen);
    if (known !== undefined) return known;
    const { manifest, threads, device = 'cpu' } = this.#options;
    const options = loopOptions(manifest.recipe, seqLen, threads, device);
    const loop = await InnerLoop.open(this.#model, this.#optimizer, options);
    this.#loops.set(seqLen, loop);
    return loop;
  }

  /** Parameters, both moments, selection biases, then anchors and residues by fragment. */
  #stateRoot(): Hash {
    const { params, biases } = this.#model;
    const buffers = [params.flat(), ...this.#optimizer.state(), biases.flat(), ...this.#fragments.state()];
    return stateRootOf(buffers, this.#options.hash);
  }
}
