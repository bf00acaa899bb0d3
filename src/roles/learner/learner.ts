/**
 * @file A learner: the model, its optimiser, its view of the fragments and the text it reads, for one run. Does what it
 * is told in the order it is told; holds the thread while a step runs. Miners train with it, validators redo steps.
 */
import type { LoadedShards, Sequence } from '../../data/shards.ts';
import type { Device } from '../../engine/device.ts';
import { decodeFragment } from '../../merge/codecs/fragment-file.ts';
import type { FragmentPlan } from '../../merge/fragment-plan.ts';
import { unpackFragment } from '../../merge/fragment-values.ts';
import { endOfTextOf } from '../../model/quasar-long/config.ts';
import { floatsOf } from '../../model/quasar-long/init.ts';
import { artifactOfParts } from '../../protocol/artifact.ts';
import type { Sha256 } from '../../protocol/hash.ts';
import type { Phase, RunManifest } from '../../protocol/manifest.ts';
import type { Hash } from '../../protocol/names.ts';
import { InnerLoop, type InnerStepResult } from '../../training/inner-loop.ts';
import type { ModelState } from '../../training/model-state.ts';
import type { InnerOptimizer } from '../../training/optimizer.ts';
import { allocateForRecipe, createOptimizer, loopOptions } from '../../training/recipe.ts';
import { learningRateAt } from '../../training/schedule.ts';
import { canonicalJson } from '../../util/canonical-json.ts';
import { assert } from '../../util/errors.ts';
import { eachInRanges, type Range } from '../../util/ranges.ts';
import { configOfPhase } from '../phase-config.ts';
import { type PhaseTerms, type RunData, runDataOf } from '../run-data.ts';
import { runModelOf } from '../run-model.ts';
import { LearnerFragments } from './learner-fragments.ts';
import {
  copyBuffers,
  type LearnerBuffers,
  type LearnerCounters,
  type LearnerState,
  statePartsOf,
} from './learner-state.ts';
import { type RoundedLayout, roundState } from './rounded-state.ts';
import { roundedLayoutOf } from './state-format.ts';

/** A version of a fragment: its absolute state (f32), as published. */
export interface PublishedFragment {
  readonly version: number;
  readonly bytes: Uint8Array;
}

/** A learner's state after `innerSteps` steps, to be kept for audits; `parts` are live. */
export interface RootedState {
  readonly innerSteps: number;
  readonly root: Hash;
  readonly parts: readonly Uint8Array[];
}

export interface LearnerOptions {
  readonly manifest: RunManifest;
  readonly threads: number;
  /** Default `cpu`. */
  readonly device?: Device;
  /** Every fragment, to begin from with zero moments; or a state to go on from. */
  readonly start: readonly PublishedFragment[] | LearnerState;
  /** Frozen tensors of the start checkpoint; null where the recipe freezes none. */
  readonly frozen?: Uint8Array | null;
  readonly loaded: LoadedShards;
  readonly hash: Sha256;
  /** Of now; without, the manifest's phases, and nothing drawn. */
  readonly terms?: () => PhaseTerms;
  /** Called with each state that gets a root; the next step waits for it. */
  readonly onState?: (state: RootedState) => Promise<void>;
}

export interface StepPlan {
  /** Of the learner's life. */
  readonly step: number;
  readonly phase: number;
  /** Sorted and disjoint; read in this order. */
  readonly sequences: readonly Range[];
  readonly scheduleTokens: number;
  /** In (0, 1]: the joiner's factor on the learning rate. */
  readonly warmup: number;
  readonly withStateRoot: boolean;
}

export interface StepReport extends InnerStepResult {
  readonly learningRate: number;
  /** After the step, where the plan asks for it. */
  readonly stateRoot: Hash | null;
}

/** Around a phase change, steps of both phases are done. */
const keptLoops = 2;

export class Learner {
  readonly plan: FragmentPlan;
  readonly #options: LearnerOptions;
  readonly #model: ModelState;
  readonly #optimizer: InnerOptimizer;
  #fragments: LearnerFragments;
  readonly #rounded: RoundedLayout | null;
  readonly #data: RunData;
  /** The newest, by sequence length and positions: a phase change makes another, the one before is of no more use. */
  readonly #loops = new Map<string, InnerLoop>();
  #skippedInARow = 0;

  /** @throws CodecError, RoleError WRONG_RUN */
  constructor(options: LearnerOptions) {
    const { manifest, start, threads, device, frozen = null } = options;
    const { recipe } = manifest;
    const model = runModelOf(manifest);
    const { config, plan } = model;
    this.#options = options;
    this.plan = plan;
    this.#rounded = roundedLayoutOf(model, manifest);
    this.#data = runDataOf(manifest, options.loaded, endOfTextOf(config), options.terms);
    this.#model = allocateForRecipe(config, manifest.seed, recipe);
    assert((frozen === null) === (recipe.frozen === undefined), 'frozen tensors come with a recipe that freezes');
    if (frozen !== null) this.#model.frozen.load(frozen);
    this.#optimizer = createOptimizer(this.#model, recipe, threads, device);
    this.#fragments = this.#begin(start);
  }

  /** As a new learner would begin, but with the sessions that are open. @throws CodecError */
  restart(start: LearnerOptions['start']): void {
    this.#fragments = this.#begin(start);
  }

  /** Opens the session of a phase before its first step is due. */
  async prepare(phase: number): Promise<void> {
    await this.#loopOf(this.#phase(phase));
  }

  learningRateOf({ phase, scheduleTokens, warmup }: Pick<StepPlan, 'phase' | 'scheduleTokens' | 'warmup'>): number {
    return learningRateAt(this.#phase(phase).schedule, scheduleTokens) * warmup;
  }

  /** @throws TrainingError DIVERGED; EngineError */
  async step(plan: StepPlan): Promise<StepReport> {
    const phase = this.#phase(plan.phase);
    const loop = await this.#loopOf(phase);
    const learningRate = this.learningRateOf(plan);
    loop.skippedInARow = this.#skippedInARow;
    const result = await loop.step(this.#read(plan), learningRate);
    this.#skippedInARow = loop.skippedInARow;
    return { ...result, learningRate, stateRoot: plan.withStateRoot ? await this.#rootAfter(plan.step + 1) : null };
  }

  /** The encoded pseudo-gradient of a fragment since its last claim. @throws CodecError */
  claim(fragment: number): Uint8Array {
    return this.#fragments.claim(fragment);
  }

  /** @throws CodecError */
  takeIn(fragment: number, { version, bytes }: PublishedFragment): void {
    this.#fragments.takeIn(fragment, version, decodeFragment('f32', this.plan.fragments[fragment]!, bytes));
  }

  /** Live buffers: good until the next claim or take-in. */
  buffers(): LearnerBuffers {
    return this.#buffersWith(this.#fragments);
  }

  /** `innerSteps`: those done in the learner's life, which it does not count. */
  counters(innerSteps: number): LearnerCounters {
    return { innerSteps, optimizerSteps: this.#optimizer.stepCount, skippedInARow: this.#skippedInARow };
  }

  /** The file of the whole state after `innerSteps` steps, in live parts. Where the run rounds states, the learner goes on from it. */
  endSegment(innerSteps: number): readonly Uint8Array[] {
    const counters = this.counters(innerSteps);
    const buffers = this.buffers();
    if (this.#rounded === null) return statePartsOf(counters, buffers);
    return [roundState(this.#rounded, counters, buffers, this.#fragments.taken)];
  }

  async close(): Promise<void> {
    for (const loop of this.#loops.values()) await loop.close();
    this.#loops.clear();
    await this.#optimizer.close();
  }

  readonly #tensor = (name: string): Float32Array => floatsOf(this.#model.tensors, name);

  #phase(index: number): Phase {
    const { manifest, terms } = this.#options;
    return (terms?.().phases ?? manifest.phases)[index]!;
  }

  #read(plan: StepPlan): Sequence[] {
    return Array.from(eachInRanges(plan.sequences), (position) => this.#data.sequenceAt(plan.phase, position));
  }

  async #loopOf(phase: Phase): Promise<InnerLoop> {
    const { sequenceLength: seqLen, context = {} } = phase;
    const key = canonicalJson({ seqLen, context });
    const known = this.#loops.get(key);
    if (known !== undefined) return known;
    const { manifest, threads, device } = this.#options;
    const config = configOfPhase(this.#model.config, phase);
    const options = { ...loopOptions(manifest.recipe, seqLen, threads, device), config };
    for (const [name, loop] of this.#loops) {
      if (this.#loops.size < keptLoops) break;
      this.#loops.delete(name);
      await loop.close();
    }
    const loop = await InnerLoop.open(this.#model, this.#optimizer, options);
    this.#loops.set(key, loop);
    return loop;
  }

  async #rootAfter(innerSteps: number): Promise<Hash> {
    const parts = this.endSegment(innerSteps);
    const { root } = artifactOfParts(parts, this.#options.hash);
    await this.#options.onState?.({ innerSteps, root, parts });
    return root;
  }

  #begin(start: LearnerOptions['start']): LearnerFragments {
    const isSaved = 'counters' in start;
    if (!isSaved)
      this.plan.fragments.forEach((fragment, id) => {
        unpackFragment(fragment, decodeFragment('f32', fragment, start[id]!.bytes), this.#tensor);
      });
    for (const moments of this.#optimizer.state()) moments.fill(0);
    const { codec } = this.#options.manifest;
    const versions = isSaved ? start.taken : start;
    const kept = this.#rounded === null ? null : versions!.map(({ version }) => version);
    const fragments = new LearnerFragments(this.plan, this.#tensor, codec, kept);
    if (isSaved) {
      copyBuffers(start, this.#buffersWith(fragments));
      if (start.taken !== null) fragments.restoreTaken(start.taken);
    }
    const { optimizerSteps, skippedInARow } = isSaved ? start.counters : { optimizerSteps: 0, skippedInARow: 0 };
    this.#optimizer.restore(optimizerSteps, this.#optimizer.state());
    this.#skippedInARow = skippedInARow;
    return fragments;
  }

  #buffersWith({ anchors, residues }: LearnerFragments): LearnerBuffers {
    const [firstMoments, secondMoments] = this.#optimizer.state();
    const { params, biases } = this.#model;
    return {
      params: params.flat(),
      firstMoments: firstMoments!,
      secondMoments: secondMoments!,
      selectionBiases: biases.flat(),
      anchors,
      residues,
    };
  }
}
