/** @file Learners in miniature, for tests and benchmarks of replays: real steps, claims, merges and traces, no network. */
import type { TokenIds } from '../../data/shards.ts';
import type { Device } from '../../engine/device.ts';
import { decodeFragment, encodeFragment } from '../../merge/codecs/fragment-file.ts';
import { type FragmentValues, packFragment } from '../../merge/fragment-values.ts';
import { floatsOf, initParams } from '../../model/quasar-long/init.ts';
import { artifactOf } from '../../protocol/artifact.ts';
import type { RunManifest } from '../../protocol/manifest.ts';
import { type Hash, toDecimal } from '../../protocol/names.ts';
import type { TraceLine } from '../../protocol/trace.ts';
import { concatBytes } from '../../util/bytes.ts';
import { nodeSha256 as hash } from '../../util/node-sha256.ts';
import { type RunModel, runModelOf } from '../run-model.ts';
import type { AuditedSegment, SegmentClaim } from './audited-segment.ts';
import { Learner, type StepPlan } from './learner.ts';
import { type LeaseTerms, scheduleTokensAt, warmupOf } from './schedule-position.ts';
import { readAnyState } from './state-format.ts';

/** A run's published fragments, and leases that are dealt out by number. */
export class TestRun {
  readonly manifest: RunManifest;
  readonly model: RunModel;
  readonly loaded: ReadonlyMap<string, TokenIds>;
  /** By fragment, then version. */
  readonly versions: Uint8Array[][];
  #leases: LeaseTerms[] = [];

  constructor(manifest: RunManifest, loaded: ReadonlyMap<string, TokenIds>) {
    this.manifest = manifest;
    this.loaded = loaded;
    this.model = runModelOf(manifest);
    const params = initParams(this.model.config, manifest.seed);
    this.versions = this.model.plan.fragments.map((fragment) => [
      encodeFragment(
        'f32',
        fragment,
        packFragment(fragment, (name) => floatsOf(params, name)),
      ).bytes,
    ]);
  }

  lease(): number {
    const size = this.manifest.sync.leaseSequences;
    const tokens = size * this.manifest.phases[0]!.sequenceLength;
    const id = this.#leases.length;
    this.#leases.push({
      phase: 0,
      range: [id * size, (id + 1) * size],
      scheduleTokens: [id * tokens, (id + 1) * tokens],
    });
    return id;
  }

  readonly leaseOf = (id: number): LeaseTerms | null => this.#leases[id] ?? null;
  readonly published = async (fragment: number, version: number): Promise<Uint8Array | null> =>
    this.versions[fragment]?.[version] ?? null;

  /** Θ ← Θ − mean of the claims. */
  merge(id: number, claims: readonly Uint8Array[]): void {
    const fragment = this.model.plan.fragments[id]!;
    const head: FragmentValues = decodeFragment('f32', fragment, this.versions[id]!.at(-1)!);
    for (const bytes of claims) {
      const { params, selectionBias } = decodeFragment(this.manifest.codec, fragment, bytes);
      for (let i = 0; i < params.length; i++) head.params[i]! -= params[i]! / claims.length;
      for (let i = 0; i < selectionBias.length; i++) head.selectionBias[i]! -= selectionBias[i]! / claims.length;
    }
    this.versions[id]!.push(encodeFragment('f32', fragment, head).bytes);
  }
}

export interface LearnerSetup {
  readonly threads: number;
  readonly device: Device;
  /** Leases of at least one batch each; default the run's next ones. */
  readonly lease?: () => number;
}

type Pair = [number, number];

/** What a miner does, told what to do: take-ins and claims wait for the next step, as in a trace. */
export class TracedLearner {
  readonly learner: Learner;
  readonly run: TestRun;
  readonly joinedAtStep: number;
  readonly lines: TraceLine[] = [];
  readonly claims: SegmentClaim[] = [];
  /** By steps done. */
  readonly states = new Map<number, Uint8Array>();
  readonly #lease: () => number;
  #start: number[] | null;
  #takenIn: Pair[] = [];
  #claimed: Pair[] = [];
  #held: { readonly id: number; next: number } | null = null;

  constructor(run: TestRun, { threads, device, lease }: LearnerSetup, joinedAtStep = 0) {
    const { manifest, loaded, versions } = run;
    this.run = run;
    this.joinedAtStep = joinedAtStep;
    this.#start = versions.map((list) => list.length - 1);
    this.#lease = lease ?? (() => run.lease());
    const start = versions.map((list) => ({ version: list.length - 1, bytes: list.at(-1)! }));
    this.learner = new Learner({
      ...{ manifest, loaded, threads, device, start, hash },
      onState: async ({ innerSteps, parts }) => void this.states.set(innerSteps, concatBytes(...parts)),
    });
  }

  get innerSteps(): number {
    return this.joinedAtStep + this.lines.length;
  }

  takeIn(fragment: number): void {
    const version = this.run.versions[fragment]!.length - 1;
    this.learner.takeIn(fragment, { version, bytes: this.run.versions[fragment]![version]! });
    this.#takenIn.push([fragment, version]);
  }

  /** `isJournaled`: false for a commit that was refused. */
  claim(outerStep: number, isJournaled = true): Uint8Array {
    const fragment = outerStep % this.run.versions.length;
    const bytes = this.learner.claim(fragment);
    this.#claimed.push([fragment, outerStep]);
    const artifact = artifactOf(bytes, hash);
    if (isJournaled) this.claims.push({ fragment, outerStep, beforeStep: this.innerSteps, artifact, bytes });
    return bytes;
  }

  async step(): Promise<number> {
    const { recipe, sync } = this.run.manifest;
    const count = recipe.batchSequences;
    if (this.#held === null || this.#held.next + count > this.run.leaseOf(this.#held.id)!.range[1]) {
      const id = this.#lease();
      this.#held = { id, next: this.run.leaseOf(id)!.range[0] };
    }
    const { id, next } = this.#held;
    const step = this.innerSteps;
    const plan: StepPlan = {
      ...{ step, phase: 0, sequences: [[next, next + count]] },
      scheduleTokens: scheduleTokensAt(this.run.leaseOf(id)!, next),
      warmup: warmupOf(recipe.joinWarmupSteps, step - this.joinedAtStep),
      withStateRoot: (step + 1) % sync.stateRootEverySteps === 0,
    };
    this.#held.next += count;
    const { loss, learningRate, stateRoot } = await this.learner.step(plan);
    this.lines.push({
      ...{ step, leases: [id], sequences: [[next, next + count]], scheduleTokens: plan.scheduleTokens, stateRoot },
      ...{ learningRate: toDecimal(learningRate), start: this.#start },
      ...{ takenIn: this.#takenIn, claimed: this.#claimed },
    });
    [this.#start, this.#takenIn, this.#claimed] = [null, [], []];
    return loss;
  }

  /** The segment that ends at `to`. */
  segment(to: number): AuditedSegment {
    const every = this.run.manifest.sync.stateRootEverySteps;
    const from = Math.max(this.joinedAtStep, to - every);
    const root = this.lines[from - 1 - this.joinedAtStep]?.stateRoot as Hash;
    const isJoin = from === this.joinedAtStep;
    return {
      steps: [from, to],
      lines: this.lines.slice(from - this.joinedAtStep, to - this.joinedAtStep),
      joinedAtStep: this.joinedAtStep,
      start: isJoin ? null : { root, bytes: this.states.get(from)! },
      end: this.states.get(to)!,
      claims: this.claims.filter(({ beforeStep }) => beforeStep >= from && beforeStep < to),
      leaseOf: this.run.leaseOf,
      published: this.run.published,
    };
  }
}

/** Does of a trace what comes after the state that the learner stands in; its run began with a join at step 0. */
export async function goOn(learner: Learner, run: TestRun, lines: readonly TraceLine[]): Promise<void> {
  for (const { step, sequences, scheduleTokens, takenIn, claimed } of lines) {
    for (const [fragment, version] of takenIn)
      learner.takeIn(fragment, { version, bytes: run.versions[fragment]![version]! });
    for (const [fragment] of claimed) learner.claim(fragment);
    const warmup = warmupOf(run.manifest.recipe.joinWarmupSteps, step);
    await learner.step({ step, phase: 0, sequences, scheduleTokens, warmup, withStateRoot: false });
  }
}

/** A learner that stands where the segment begins, and takes its take-ins and claims as the lines say. */
export async function openForger(
  run: TestRun,
  segment: AuditedSegment,
  setup: Pick<LearnerSetup, 'threads' | 'device'>,
) {
  const { manifest, loaded, model, versions } = run;
  const start =
    segment.start === null
      ? segment.lines[0]!.start!.map((version, fragment) => ({ version, bytes: versions[fragment]![version]! }))
      : await readAnyState(model, manifest, segment.start.bytes, async (fragment, version) =>
          decodeFragment('f32', model.plan.fragments[fragment]!, versions[fragment]![version]!),
        );
  const learner = new Learner({ manifest, loaded, start, hash, ...setup });
  const moves = (line: TraceLine): Map<number, Uint8Array> => {
    for (const [fragment, version] of line.takenIn)
      learner.takeIn(fragment, { version, bytes: versions[fragment]![version]! });
    return new Map(line.claimed.map(([fragment, outerStep]) => [outerStep, learner.claim(fragment)]));
  };
  const planOf = (line: TraceLine): StepPlan => ({
    ...{ step: line.step, phase: 0, sequences: line.sequences, scheduleTokens: line.scheduleTokens },
    warmup: warmupOf(manifest.recipe.joinWarmupSteps, line.step - segment.joinedAtStep),
    withStateRoot: false,
  });
  return { learner, moves, planOf };
}
