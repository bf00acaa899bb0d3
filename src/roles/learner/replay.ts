/**
 * @file A replay (DESIGN section 4, check 5): a segment of a learner's trace is done again, from the state before it, and
 * must lead to the state after it. Whether the lines are the learner's is the caller's to check.
 */
import type { LoadedShards } from '../../data/shards.ts';
import type { Device } from '../../engine/device.ts';
import { decodeFragment } from '../../merge/codecs/fragment-file.ts';
import { CodecError } from '../../merge/errors.ts';
import { artifactOfParts, isArtifact } from '../../protocol/artifact.ts';
import type { Sha256 } from '../../protocol/hash.ts';
import type { Phase, RunManifest } from '../../protocol/manifest.ts';
import { fromDecimal, toDecimal } from '../../protocol/names.ts';
import type { TraceLine } from '../../protocol/trace.ts';
import { flatLayout } from '../../tensor/flat-params.ts';
import { TrainingError } from '../../training/errors.ts';
import { assert } from '../../util/errors.ts';
import { intersectRanges, type Range } from '../../util/ranges.ts';
import type { PhaseTerms } from '../run-data.ts';
import { type RunModel, runModelOf } from '../run-model.ts';
import {
  type AuditedSegment,
  checkForm,
  checkState,
  Failed,
  type ReplayFinding,
  startFragments,
} from './audited-segment.ts';
import { Learner } from './learner.ts';
import type { LearnerState } from './learner-state.ts';
import { compareStates, fragmentRanges, likenessOf } from './replay-compare.ts';
import { scheduleTokensAt, warmupOf } from './schedule-position.ts';
import { stateSizeBytes } from './state-format.ts';

export interface ReplayerOptions {
  readonly manifest: RunManifest;
  /** Training shards by artifact root. */
  readonly loaded: LoadedShards;
  /** Frozen tensors of the start checkpoint; null where the recipe freezes none. */
  readonly frozen?: Uint8Array | null;
  readonly hash: Sha256;
  readonly threads: number;
  readonly device?: Device;
  /** Phases as they are now and what each has drawn; without, the manifest's, and nothing drawn. */
  readonly terms?: () => PhaseTerms;
  /** Does the work of a step once these sequences of a phase can be read; without, they always can. */
  readonly reading?: (phase: number, sequences: readonly Range[], work: () => Promise<void>) => Promise<void>;
}

export interface ReplayOptions {
  /** Is this machine of the learner's class (`machine-class.ts`)? Then the same bits are due. */
  readonly isSameClass: boolean;
  readonly signal: AbortSignal;
}

/** Replays one segment after another, with sessions that stay open. */
export class Replayer {
  readonly #options: ReplayerOptions;
  readonly #model: RunModel;
  #learner: Learner | null = null;

  /** Opens nothing before the first replay. @throws RoleError WRONG_RUN */
  constructor(options: ReplayerOptions) {
    this.#options = options;
    this.#model = runModelOf(options.manifest);
  }

  /** Size of each state that an answer may name; to be checked before a byte is fetched. */
  get stateSizeBytes(): number {
    return stateSizeBytes(this.#model.plan, this.#options.manifest);
  }

  /**
   * One at a time.
   * @throws EngineError, StoreError (of `published`): the environment's failures, which say nothing of the learner; the
   * signal's reason
   */
  async replay(segment: AuditedSegment, options: ReplayOptions): Promise<ReplayFinding> {
    const { steps, joinedAtStep, start } = segment;
    assert(steps[0] < steps[1] && joinedAtStep <= steps[0], `no segment: ${steps} after a join at ${joinedAtStep}`);
    assert(
      (start === null) === (joinedAtStep === steps[0]),
      'a segment has no first state where it begins with a join',
    );
    try {
      checkForm(segment, { ...this.#options.manifest, phases: this.#phases });
      const replay = await this.#begin(segment, options);
      await replay.run();
      return { outcome: 'pass', code: 'OK', sentence: '', measurements: replay.judge() };
    } catch (error) {
      if (!(error instanceof Failed)) throw error;
      const { code, message: sentence, measurements } = error;
      return { outcome: 'fail', code, sentence, measurements };
    }
  }

  async close(): Promise<void> {
    await this.#learner?.close();
    this.#learner = null;
  }

  get #phases(): readonly Phase[] {
    const { manifest, terms } = this.#options;
    return terms?.().phases ?? manifest.phases;
  }

  async #begin(segment: AuditedSegment, options: ReplayOptions): Promise<Replay> {
    const { hash, manifest } = this.#options;
    const [from, to] = segment.steps;
    const { published } = segment;
    const check = { model: this.#model, manifest, published, hash, mostSteps: to - segment.joinedAtStep };
    const root = segment.lines.at(-1)!.stateRoot!;
    const end = await checkState({ ...check, name: 'the last', innerSteps: to }, root, segment.end);
    const start =
      segment.start === null
        ? await startFragments(segment)
        : await checkState({ ...check, name: 'the first', innerSteps: from }, segment.start.root, segment.start.bytes);
    if (this.#learner === null) this.#learner = new Learner({ ...this.#options, start });
    else this.#learner.restart(start);
    return new Replay(segment, { ...this.#options, ...options }, { model: this.#model, learner: this.#learner, end });
  }
}

class Replay {
  readonly #segment: AuditedSegment;
  readonly #options: ReplayerOptions & ReplayOptions;
  readonly #model: RunModel;
  readonly #learner: Learner;
  readonly #end: LearnerState;
  readonly #ranges: ReturnType<typeof fragmentRanges>;
  /** Parameters before the segment, moved by what was taken in: what lies beyond is work. */
  readonly #base: Float32Array;
  readonly #moves = new Map<number, 'claim' | 'claim-then-take-in'>();
  /** Claims that were compared, and the worst of them. */
  #claims = 0;
  #claimCosine = 1;
  #claimRatio = 1;
  /** What the first wrong claim will be failed with, when everything has been measured. */
  #claimFault: string | null = null;

  constructor(
    segment: AuditedSegment,
    options: ReplayerOptions & ReplayOptions,
    parts: { readonly model: RunModel; readonly learner: Learner; readonly end: LearnerState },
  ) {
    this.#segment = segment;
    this.#options = options;
    this.#model = parts.model;
    this.#learner = parts.learner;
    this.#end = parts.end;
    const { contract, plan } = parts.model;
    this.#ranges = fragmentRanges(plan, flatLayout(contract), flatLayout(contract, ['selection-bias']));
    this.#base = parts.learner.buffers().params.slice();
  }

  async run(): Promise<void> {
    for (const line of this.#segment.lines) {
      this.#options.signal.throwIfAborted();
      for (const [fragment, version] of line.takenIn) await this.#takeIn(line, fragment, version);
      for (const [fragment, outerStep] of line.claimed) this.#claim(line, fragment, outerStep);
      await this.#step(line);
    }
  }

  /** What was redone beside what was answered. */
  judge(): Readonly<Record<string, number>> {
    const { steps, lines } = this.#segment;
    const [from, to] = steps;
    const { root } = artifactOfParts(this.#learner.endSegment(to), this.#options.hash);
    const isExact = root === lines.at(-1)!.stateRoot;
    const counts = { steps: to - from, claims: this.#claims, exact: isExact ? 1 : 0 };
    if (isExact && this.#claimFault === null) return counts;
    const { manifest, isSameClass } = this.#options;
    const { audit, recipe } = manifest;
    const { sentence, measurements } = compareStates({
      plan: this.#model.plan,
      ranges: this.#ranges,
      base: this.#base,
      replayed: this.#learner.buffers(),
      answered: this.#end,
      moves: this.#moves,
      steps: to - from,
      selectionBiasRate: fromDecimal(recipe.selectionBiasRate),
      bounds: { minCosine: fromDecimal(audit.minCosine), maxNormRatio: fromDecimal(audit.maxNormRatio) },
    });
    const numbers = { ...counts, ...measurements, claimCosine: this.#claimCosine, claimRatio: this.#claimRatio };
    if (this.#claimFault !== null) throw new Failed('CLAIM', this.#claimFault, numbers);
    if (isSameClass)
      throw new Failed('REPLAY', sentence ?? 'a machine of the same class gets other bits for the last state', numbers);
    const counted = this.#countersFault();
    if (counted !== null) throw new Failed('REPLAY', counted, numbers);
    if (sentence !== null) throw new Failed('REPLAY', sentence, numbers);
    return numbers;
  }

  async #takeIn({ step }: TraceLine, fragment: number, version: number): Promise<void> {
    const bytes = await this.#segment.published(fragment, version);
    if (bytes === null)
      throw new Failed('REPLAY', `step ${step} takes in version ${version} of fragment ${fragment}, which never was`);
    const { params } = this.#learner.buffers();
    const ranges = this.#ranges[fragment]!.params;
    for (const [from, to] of ranges) for (let i = from; i < to; i++) this.#base[i]! -= params[i]!;
    this.#learner.takeIn(fragment, { version, bytes });
    for (const [from, to] of ranges) for (let i = from; i < to; i++) this.#base[i]! += params[i]!;
    if (this.#moves.has(fragment)) this.#moves.set(fragment, 'claim-then-take-in');
  }

  #claim({ step }: TraceLine, fragment: number, outerStep: number): void {
    const made = this.#encode(step, fragment);
    this.#moves.set(fragment, 'claim');
    const claim = this.#segment.claims.find((one) => one.fragment === fragment && one.outerStep === outerStep);
    // Of a claim that the journal refused nothing is known but that it was made.
    if (claim === undefined) return;
    this.#claims += 1;
    if (isArtifact(claim.artifact, made, this.#options.hash)) return;
    const what = `the claim of fragment ${fragment} for outer step ${outerStep}`;
    if (this.#options.isSameClass) throw new Failed('CLAIM', `${what} is not what the redone steps give`);
    if (claim.bytes !== null) this.#compareClaim(what, fragment, made, claim.bytes);
  }

  #encode(step: number, fragment: number): Uint8Array {
    try {
      return this.#learner.claim(fragment);
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      throw new Failed('REPLAY', `what step ${step} claims cannot be encoded: ${error.message}`);
    }
  }

  #compareClaim(what: string, id: number, made: Uint8Array, claimed: Uint8Array): void {
    const { manifest } = this.#options;
    const fragment = this.#model.plan.fragments[id]!;
    const mine = decodeFragment(manifest.codec, fragment, made).params;
    let theirs: Float32Array;
    try {
      theirs = decodeFragment(manifest.codec, fragment, claimed).params;
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      throw new Failed('CLAIM', `${what}: ${error.message}`);
    }
    const { cosine, normRatio } = likenessOf(mine, theirs, null);
    this.#claimCosine = Math.min(this.#claimCosine, cosine);
    this.#claimRatio = Math.max(this.#claimRatio, normRatio);
    const { minCosine, maxNormRatio } = manifest.audit;
    if (cosine < fromDecimal(minCosine) || normRatio > fromDecimal(maxNormRatio))
      this.#claimFault ??= `${what} has cosine ${cosine.toPrecision(4)} with what the redone steps give, and norms ${normRatio.toPrecision(4)} times apart`;
  }

  async #step(line: TraceLine): Promise<void> {
    const { step, sequences, scheduleTokens } = line;
    const { joinedAtStep } = this.#segment;
    const phase = this.#checkPosition(line);
    const warmup = warmupOf(this.#options.manifest.recipe.joinWarmupSteps, step - joinedAtStep);
    const plan = { step, phase, sequences, scheduleTokens, warmup, withStateRoot: false };
    const due = toDecimal(this.#learner.learningRateOf(plan));
    if (due !== line.learningRate)
      throw new Failed('REPLAY', `step ${step} names learning rate ${line.learningRate}, the schedule gives ${due}`);
    try {
      const learn = async (): Promise<void> => void (await this.#learner.step(plan));
      const { reading } = this.#options;
      await (reading === undefined ? learn() : reading(phase, sequences, learn));
    } catch (error) {
      if (!(error instanceof TrainingError)) throw error;
      throw new Failed('REPLAY', `step ${step}: ${error.message}`);
    }
  }

  /** The phase of the step's leases, if the schedule position is theirs. */
  #checkPosition({ step, leases, sequences, scheduleTokens }: TraceLine): number {
    const terms = leases.map((lease) => this.#segment.leaseOf(lease)!);
    const first = terms[0]!;
    if (terms.some(({ phase }) => phase !== first.phase))
      throw new Failed('REPLAY', `step ${step} reads leases of different phases`);
    const [next] = intersectRanges(sequences, [first.range])[0] ?? [];
    const due = next === undefined ? null : scheduleTokensAt(first, next);
    if (due === scheduleTokens) return first.phase;
    throw new Failed('REPLAY', `step ${step} names schedule position ${scheduleTokens}, its leases give ${due}`);
  }

  /** Both count the same steps as taken and as skipped. */
  #countersFault(): string | null {
    const mine = this.#learner.counters(this.#segment.steps[1]);
    const theirs = this.#end.counters;
    if (mine.optimizerSteps === theirs.optimizerSteps && mine.skippedInARow === theirs.skippedInARow) return null;
    return `the last state counts ${theirs.optimizerSteps} optimiser steps, ${mine.optimizerSteps} were redone`;
  }
}
