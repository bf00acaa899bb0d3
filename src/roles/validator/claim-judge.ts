/**
 * @file Judges one claim (DESIGN section 4, checks 1-4): fetches what it names, runs the checks in their order, measures gain
 * and resemblance. Whoever comes after others (recheck, ruling) computes a part of their numbers again.
 */
import { applyClaim, measureClaimGain } from '../../evaluation/claim-gain.ts';
import type { Claim, ClaimVerdict } from '../../journal/state.ts';
import { decodeFragment } from '../../merge/codecs/fragment-file.ts';
import { CodecError } from '../../merge/errors.ts';
import type { FragmentValues } from '../../merge/fragment-values.ts';
import { maxDetailsBytes, parseDetails, type VerdictDetails } from '../../protocol/details.ts';
import { drawTestSequences } from '../../protocol/draw.ts';
import type { ArtifactRef } from '../../protocol/manifest.ts';
import { fromDecimal, type Hash, type Hotkey, type LearnerId, toDecimal } from '../../protocol/names.ts';
import { maxTraceBytes, type TraceLine } from '../../protocol/trace.ts';
import type { Log } from '../../util/clock.ts';
import type { Range } from '../../util/ranges.ts';
import { Rng } from '../../util/rng.ts';
import { gatherLines, parseClaimTrace } from '../claim-trace.ts';
import type { RunClient } from '../client.ts';
import { RoleError } from '../errors.ts';
import type { HeadsHistory } from '../heads-history.ts';
import { type RunText, sequencesAt } from '../run-data.ts';
import type { RunModel } from '../run-model.ts';
import { checkNorm, checkSize, checkTrace, decodeClaim, type Finding, finite, judgedGain, refused } from './checks.ts';
import { findFormFault, findLossFault, isNormWrong, type LossSample, needsDetails } from './details-check.ts';
import type { HeadParams } from './heads.ts';
import type { PhaseEvaluators } from './phase-evaluators.ts';
import { resemblance, type Sketch, sketchPositions, sparseCodecs, takeSketch } from './resemblance.ts';

export interface ClaimJudgeDeps {
  readonly client: RunClient;
  readonly hotkey: Hotkey;
  /** Text that nobody else knows: samples and sketches follow from it. */
  readonly secret: string;
  readonly model: RunModel;
  readonly text: RunText;
  readonly evaluators: PhaseEvaluators;
  readonly heads: HeadsHistory;
  readonly params: HeadParams;
  readonly log: Log;
  readonly signal: AbortSignal;
}

export interface Judgement {
  readonly finding: Finding;
  /** Of the gain test, if one was made. */
  readonly details: VerdictDetails | null;
  /** Values of the claim, if its bytes decode. */
  readonly values: FragmentValues | null;
}

/** Positions past the order's cursor at the commit that test sequences are drawn from. */
const testWindow = 4_096;
const keptTraces = 1_024;
/** Earlier claims that one is compared with, and sketches that are kept. */
const comparedClaims = 8;
const keptSketches = 512;
/** Of another's test: so many sequences are computed again. */
const sampledSequences = 2;

export class ClaimJudge {
  readonly #deps: ClaimJudgeDeps;
  /** Newest traces, checked, by claim: a later claim of another fragment covers the same lines. */
  readonly #traces = new Map<Hash, readonly TraceLine[]>();
  /** Null: its bytes are no fragment. */
  readonly #sketches = new Map<Hash, Sketch | null>();
  readonly #positions = new Map<number, Uint32Array>();

  constructor(deps: ClaimJudgeDeps) {
    this.#deps = deps;
  }

  async judge(claim: Claim): Promise<Judgement> {
    const { client, model } = this.#deps;
    const run = client.state;
    const fragment = model.plan.fragments[claim.body.fragment]!;
    const without = (finding: Finding, values: FragmentValues | null = null): Judgement => ({
      ...{ finding, values, details: null },
    });
    // Taken before the first await: the fold moves on.
    const heads = this.#deps.heads.ofClaim(claim.id);
    const oversized = checkSize(run, claim, fragment);
    if (oversized !== null) return without(oversized);
    const bytes = await this.#fetch(claim.body.artifact);
    if (bytes === null) return without(refused('MISSING', `artifact ${claim.body.artifact.root} is not in the store`));
    const decoded = decodeClaim(run, fragment, bytes);
    if ('finding' in decoded) return without(decoded.finding);
    const { values } = decoded;
    const untraced = await this.#judgeTrace(claim);
    if (untraced !== null) return without(untraced, values);
    const checked = checkNorm(run, claim, values);
    const likeness = await this.#likeness(claim, values);
    const norm: Finding =
      likeness === null ? checked : { ...checked, measurements: { ...checked.measurements, resemblance: likeness } };
    if (norm.outcome !== 'accept' || !claim.beacon!.gainTested) return without(norm, values);
    // Every claim that is judged has them; one that was settled meanwhile is no longer owed a verdict.
    if (heads === null) throw new RoleError('REFUSED', `claim ${claim.id} was settled while it was checked`);
    return this.#judgeGain(claim, values, heads, norm);
  }

  /**
   * Validators whose numbers about the claim cannot be computed, with the reason. What the store has not, or heads that are
   * gone, accuse nobody.
   */
  async findLiars(claim: Claim, values: FragmentValues | null): Promise<Map<Hotkey, string>> {
    const liars = new Map<Hotkey, string>();
    if (values === null) return liars;
    const heads = this.#deps.heads.ofClaim(claim.id);
    const said = [...claim.verdicts, ...(claim.rechecked === null ? [] : [claim.rechecked])];
    const { norm } = checkNorm(this.#deps.client.state, claim, values).measurements;
    for (const verdict of said) {
      if (verdict.hotkey === this.#deps.hotkey) continue;
      const fault =
        norm !== undefined && isNormWrong(verdict, norm)
          ? 'says a norm that the bytes do not have'
          : await this.#findDetailsFault(claim, verdict, { values, heads });
      if (fault !== null) liars.set(verdict.hotkey, fault);
    }
    return liars;
  }

  async #findDetailsFault(
    claim: Claim,
    verdict: ClaimVerdict,
    { values, heads }: { readonly values: FragmentValues; readonly heads: readonly ArtifactRef[] | null },
  ): Promise<string | null> {
    if (!needsDetails(verdict, claim.beacon!.gainTested)) return null;
    const { details: named } = verdict;
    if (named !== null && named.sizeBytes > maxDetailsBytes) return 'published details beyond their bound';
    const bytes = named === null ? null : await this.#fetch(named);
    if (named !== null && bytes === null) return null;
    if (heads === null) return null;
    const details = bytes === null ? null : parseDetails(bytes);
    const positions = this.#testPositions(claim, verdict.hotkey);
    const roots = heads.map(({ root }) => root);
    const form = findFormFault(details, { verdict: { ...verdict, claim: claim.id }, heads: roots, positions });
    if (form !== null || details === null) return form;
    const params = await this.#headParams(heads);
    if (params === null) return null;
    const drawn = sample(`${this.#deps.secret} ${claim.id} ${verdict.hotkey}`, positions, sampledSequences);
    const sequences = await sequencesAt(this.#deps.text, claim.body.phase, drawn);
    const evaluator = await this.#deps.evaluators.of(claim.body.phase);
    const before = await evaluator.sequenceLosses(params, sequences);
    const after = await evaluator.sequenceLosses(applyClaim(this.#applied(claim, params, values)), sequences);
    const samples = drawn.map((position, i): LossSample => {
      return { position, before: before.losses[i]!, after: after.losses[i]! };
    });
    return findLossFault(details, samples);
  }

  /** Null where retention has taken a head. */
  async #headParams(heads: readonly ArtifactRef[]): Promise<Awaited<ReturnType<HeadParams['at']>> | null> {
    const { client, params, signal } = this.#deps;
    for (const { root } of heads) if ((await client.store.stat(root)) === null) return null;
    return params.at(heads, signal);
  }

  #applied(claim: Claim, params: Awaited<ReturnType<HeadParams['at']>>, values: FragmentValues) {
    const { merge } = this.#deps.client.manifest;
    const fragment = this.#deps.model.plan.fragments[claim.body.fragment]!;
    return { params, fragment, claim: values, outerRate: fromDecimal(merge.outerLearningRate) };
  }

  /** Drawn for each validator apart, from what was not leased at the commit: everybody can say which they are. */
  #testPositions(claim: Claim, validator: Hotkey): number[] {
    const { cursorAtCommit } = claim;
    return drawTestSequences({
      blockHash: claim.beacon!.blockHash,
      claim: claim.id,
      validator,
      count: this.#deps.client.manifest.evaluation.gainSequences,
      range: [cursorAtCommit + testWindow, cursorAtCommit + 2 * testWindow],
    });
  }

  async #judgeGain(
    claim: Claim,
    values: FragmentValues,
    heads: readonly ArtifactRef[],
    norm: Finding,
  ): Promise<Judgement> {
    const { client, hotkey, text, evaluators, params, signal } = this.#deps;
    const evaluator = await evaluators.of(claim.body.phase);
    const positions = this.#testPositions(claim, hotkey);
    const gain = await measureClaimGain(evaluator, {
      ...this.#applied(claim, await params.at(heads, signal), values),
      harmMargin: fromDecimal(client.manifest.evaluation.harmMargin),
      sequences: await sequencesAt(text, claim.body.phase, positions),
    });
    const decimals = (losses: Float64Array) => Array.from(losses, (loss) => toDecimal(finite(loss)));
    const details: VerdictDetails = {
      version: 1,
      claim: claim.id,
      validator: hotkey,
      heads: heads.map(({ root }) => root),
      positions,
      lossesBefore: decimals(gain.without.losses),
      lossesAfter: decimals(gain.withClaim.losses),
    };
    return { finding: judgedGain(gain, norm.measurements), details, values };
  }

  /** The greatest resemblance to what others revealed before this commit; null if there is none to compare with. */
  async #likeness(claim: Claim, values: FragmentValues): Promise<number | null> {
    const { client } = this.#deps;
    const isEarlier = (other: Claim): boolean => other.hotkey !== claim.hotkey && isRevealedBefore(other, claim);
    const earlier = [...client.state.claims.values()].filter(isEarlier).slice(-comparedClaims);
    const own = takeSketch(values.params, this.#positionsOf(claim));
    const isSparse = sparseCodecs.has(client.manifest.codec);
    let most: number | null = null;
    for (const other of earlier) {
      const sketch = await this.#sketchOf(other);
      if (sketch === null) continue;
      const likeness = resemblance(own, sketch, { isSparse });
      if (likeness > (most ?? 0) && (await this.#isCopyOf(claim.hotkey, other, { sketch, likeness }))) continue;
      most = Math.max(most ?? 0, likeness);
    }
    this.#keepSketch(claim.id, own);
    return most;
  }

  /**
   * Whether `other` resembles an earlier claim of `hotkey` more than the present claim resembles `other`: then it is the copy,
   * and who was copied is not to be suspected for going on as before.
   */
  async #isCopyOf(
    hotkey: Hotkey,
    other: Claim,
    { sketch, likeness }: { readonly sketch: Sketch; readonly likeness: number },
  ): Promise<boolean> {
    const { client } = this.#deps;
    const isOriginal = (each: Claim): boolean => each.hotkey === hotkey && isRevealedBefore(each, other);
    const originals = [...client.state.claims.values()].filter(isOriginal).slice(-comparedClaims);
    const isSparse = sparseCodecs.has(client.manifest.codec);
    for (const each of originals) {
      const original = await this.#sketchOf(each);
      if (original !== null && resemblance(sketch, original, { isSparse }) > likeness) return true;
    }
    return false;
  }

  #positionsOf({ body: { fragment } }: Claim): Uint32Array {
    const known = this.#positions.get(fragment);
    if (known !== undefined) return known;
    const { elementCount } = this.#deps.model.plan.fragments[fragment]!;
    const positions = sketchPositions(`${this.#deps.secret} ${fragment}`, elementCount);
    this.#positions.set(fragment, positions);
    return positions;
  }

  async #sketchOf(claim: Claim): Promise<Sketch | null> {
    const known = this.#sketches.get(claim.id);
    if (known !== undefined) return known;
    const { client, model } = this.#deps;
    const fragment = model.plan.fragments[claim.body.fragment]!;
    if (checkSize(client.state, claim, fragment) !== null) return null;
    const bytes = await this.#fetch(claim.body.artifact);
    let sketch: Sketch | null = null;
    try {
      if (bytes !== null)
        sketch = takeSketch(decodeFragment(client.manifest.codec, fragment, bytes).params, this.#positionsOf(claim));
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
    }
    this.#keepSketch(claim.id, sketch);
    return sketch;
  }

  #keepSketch(claim: Hash, sketch: Sketch | null): void {
    this.#sketches.set(claim, sketch);
    if (this.#sketches.size > keptSketches) this.#sketches.delete(this.#sketches.keys().next().value!);
  }

  /** Null if the trace is what the claim says. */
  async #judgeTrace(claim: Claim): Promise<Finding | null> {
    const own = await this.#readTrace(claim);
    if ('finding' in own) return own.finding;
    // Steps before its own lines are in the artifacts of the learner's earlier commits.
    return checkTrace(claim, await this.linesOf(claim.learner, claim.body.steps), this.#deps.client.state);
  }

  /** Of a learner's trace, in order; without those whose bytes are gone or are not what was committed to. */
  linesOf(learner: LearnerId, steps: Range): Promise<readonly TraceLine[]> {
    return gatherLines(this.#deps.client.state, learner, steps, async (claim) => {
      const read = await this.#readTrace(claim);
      return 'finding' in read ? null : read.lines;
    });
  }

  /** The lines that a claim committed to, or why they are not what it says. */
  async #readTrace(claim: Claim): Promise<{ readonly lines: readonly TraceLine[] } | { readonly finding: Finding }> {
    const known = this.#traces.get(claim.id);
    if (known !== undefined) return { lines: known };
    const { artifact } = claim.body.trace;
    if (artifact.sizeBytes > maxTraceBytes)
      return { finding: refused('OVERSIZED', `a trace has at most ${maxTraceBytes} bytes, got ${artifact.sizeBytes}`) };
    const bytes = await this.#fetch(artifact);
    if (bytes === null) return { finding: refused('MISSING', `trace ${artifact.root} is not in the store`) };
    const lines = parseClaimTrace(claim, bytes, this.#deps.client.state);
    if (typeof lines === 'string') return { finding: refused('TRACE', lines) };
    this.#traces.set(claim.id, lines);
    if (this.#traces.size > keptTraces) this.#traces.delete(this.#traces.keys().next().value!);
    return { lines };
  }

  /** Null if the store does not have it; other failures are the environment's and are tried again. */
  async #fetch(artifact: ArtifactRef): Promise<Uint8Array | null> {
    const { store } = this.#deps.client;
    if ((await store.stat(artifact.root)) === null) return null;
    return store.get(artifact, { signal: this.#deps.signal });
  }
}

/** `count` of the items, ascending: unforeseeable to who does not know the seed. */
function sample(seed: string, items: readonly number[], count: number): number[] {
  const rng = new Rng(seed);
  const left = [...items];
  const taken = Array.from({ length: Math.min(count, left.length) }, () => left.splice(rng.below(left.length), 1)[0]!);
  return taken.sort((a, b) => a - b);
}

/** Of the same fragment, and in time to be copied. Within one millisecond the order of the commits tells: who copies commits last. */
const isRevealedBefore = (early: Claim, late: Claim): boolean =>
  early.body.fragment === late.body.fragment &&
  early.revealedAtMs !== null &&
  early.revealedAtMs <= late.committedAtMs &&
  early.commitSeq < late.commitSeq;
