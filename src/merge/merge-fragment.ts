/**
 * @file One outer step of one fragment: claims in, new parameters and momentum out, the same bits on every machine and
 * for every order of arrival. Sorts the claims itself, checks that all numbers are finite, uses no transcendental
 * function and no clock.
 *
 * A claim's pseudo-gradient is Δ = anchor − θ_local (+ codec residue) as decoded, where anchor is what the learner had
 * at its last claim or take-in of this fragment; its selection bias is anchor − local too.
 */
import { MergeError } from './errors.ts';
import type { Fragment } from './fragment-plan.ts';
import { checkFragmentValues, checkLength, type FragmentValues } from './fragment-values.ts';
import { LearnerBlocks } from './learner-blocks.ts';
import { type ClipOptions, clipFactors, sumOfSquares, type WeightedNorm, weightedMedian } from './norms.ts';
import { applyOuterStep, type OuterOptions } from './outer-optimizer.ts';
import { combineRobustly, type RobustInput } from './robust.ts';
import {
  type LinearRule,
  type MergeRule,
  type MergeSegment,
  planSegments,
  type RobustRule,
  robustRules,
  type Weighed,
} from './rules.ts';
import { type Staging, sharedStaging } from './staging.ts';

/** Bound on the claims of one merge. */
export const maxClaims = 4096;
/** Entries of `recentNorms` that are looked at: the newest. */
export const recentMerges = 8;

/** What a merge knows of a claim beside its numbers. */
export interface ClaimTerms {
  /** Names the claim; unique in a merge. */
  readonly id: string;
  readonly hotkey: string;
  readonly learner: string;
  /** Counted tokens; positive. */
  readonly tokens: number;
  /** Outer steps of this fragment that the claim came late. */
  readonly staleness: number;
  readonly innerSteps: number;
}

export interface MergeClaim extends ClaimTerms {
  readonly pseudoGradient: Float32Array;
  /** Needed where the fragment holds selection biases. */
  readonly selectionBias?: Float32Array;
}

/** How a run merges. */
export interface MergeTerms {
  readonly rule: MergeRule;
  /** Of `trimmed-mean`: share of the weight cut off on either side. */
  readonly trim?: number;
  readonly outer: OuterOptions;
  readonly clip: ClipOptions;
  /** `cohort` of this fragment's merges so far, oldest first; the last 8 count. Asked when the cohort is small. */
  readonly recentNorms: readonly WeightedNorm[];
}

export interface MergeInput extends MergeTerms {
  readonly fragment: Fragment;
  readonly theta: FragmentValues;
  /** Outer momentum of the params; zeros at first. */
  readonly momentum: Float32Array;
  readonly claims: readonly MergeClaim[];
  /** Arrays for the result, which may be those of the input. Default: new ones, and the input stays as it is. */
  readonly into?: MergeTarget;
}

export interface MergeTarget {
  readonly theta: FragmentValues;
  readonly momentum: Float32Array;
}

export interface MergedClaim {
  readonly id: string;
  readonly hotkey: string;
  readonly learner: string;
  readonly staleness: number;
  /** tokens / (1 + staleness), over the sum of all. */
  readonly share: number;
  /** Of the whole pseudo-gradient, before and after clipping. */
  readonly norm: number;
  readonly clippedNorm: number;
  /** norm / √(inner steps) */
  readonly normPerStep: number;
}

export interface MergeResult {
  readonly theta: FragmentValues;
  readonly momentum: Float32Array;
  /** In merge order. */
  readonly claims: readonly MergedClaim[];
  /** Token-weighted median of the norms per √(inner steps), to append to `recentNorms`. */
  readonly cohort: WeightedNorm;
}

/**
 * On an error `into` may be half written. Arrays resident in `staging` are read and written in place. @throws MergeError NO_CLAIMS, TOO_MANY_CLAIMS, DUPLICATE_CLAIM (an id twice), WRONG_LENGTH, BAD_WEIGHT, NOT_FINITE (in a claim, or an overflow of the outer step)
 */
export function mergeFragment(input: MergeInput, staging: Staging = sharedStaging()): MergeResult {
  const { fragment, theta, momentum, rule } = input;
  checkFragmentValues(fragment, theta);
  checkLength('momentum', momentum, fragment.elementCount);
  const claims = inMergeOrder(input.claims);
  for (const claim of claims) checkClaim(claim, fragment);
  const norms = claims.map((claim) => normOf(claim, sumOfSquares(staging, claim.pseudoGradient)));
  const weighing = weigh(claims, norms, input);
  const { weighed } = weighing;
  const pseudoGradients = claims.map(({ pseudoGradient }) => pseudoGradient);
  const { blocks, segments } = isRobust(rule)
    ? combineFirst(rule, { pseudoGradients, learners: weighed, trim: input.trim ?? 0 }, staging)
    : planLinear(rule, { fragment, pseudoGradients, weighed }, staging);
  const result = targetOf(input);
  const biases = claims.map(({ selectionBias }) => selectionBias!);
  mergeSelectionBias(staging, result.theta.selectionBias, biases, weighed);
  for (const segment of segments) applySegment(blocks, segment, result.theta.params, result.momentum, input.outer);
  return { theta: result.theta, momentum: result.momentum, ...reportOf(claims, weighing) };
}

export interface Weighing {
  /** In merge order, as all of these. */
  readonly weighed: readonly Weighed[];
  readonly norms: readonly number[];
  readonly perStep: readonly WeightedNorm[];
}

/** Shares and clip factors of claims in merge order. */
export function weigh(
  claims: readonly ClaimTerms[],
  norms: readonly number[],
  { recentNorms, clip }: Pick<MergeTerms, 'recentNorms' | 'clip'>,
): Weighing {
  const perStep = claims.map(({ tokens, innerSteps }, m) => ({ norm: norms[m]! / Math.sqrt(innerSteps), tokens }));
  const clips = clipFactors(perStep, recentNorms.slice(-recentMerges), clip);
  const weighed = sharesOf(claims).map((share, m): Weighed => ({ share, clip: clips[m]! }));
  return { weighed, norms, perStep };
}

export function reportOf(
  claims: readonly ClaimTerms[],
  { weighed, norms, perStep }: Weighing,
): Pick<MergeResult, 'claims' | 'cohort'> {
  return {
    claims: claims.map(({ id, hotkey, learner, staleness }, m) => ({
      ...{ id, hotkey, learner, staleness },
      share: weighed[m]!.share,
      norm: norms[m]!,
      clippedNorm: norms[m]! * weighed[m]!.clip,
      normPerStep: perStep[m]!.norm,
    })),
    cohort: { norm: weightedMedian(perStep), tokens: claims.reduce((sum, { tokens }) => sum + tokens, 0) },
  };
}

interface Planned {
  readonly blocks: LearnerBlocks;
  readonly segments: readonly MergeSegment[];
}

const isRobust = (rule: MergeRule): rule is RobustRule => (robustRules as readonly string[]).includes(rule);

function planLinear(
  rule: LinearRule,
  parts: {
    readonly fragment: Fragment;
    readonly pseudoGradients: readonly Float32Array[];
    readonly weighed: readonly Weighed[];
  },
  staging: Staging,
): Planned {
  const blocks = new LearnerBlocks(staging, parts.pseudoGradients);
  return { blocks, segments: planSegments(rule, parts.fragment, parts.weighed, blocks) };
}

/** What a rule made of all is merged as if one learner had claimed it. */
function combineFirst(rule: RobustRule, input: RobustInput, staging: Staging): Planned {
  const combined = combineRobustly(rule, input);
  const segments = [{ from: 0, to: combined.length, coefficients: [1] }];
  return { blocks: new LearnerBlocks(staging, [combined]), segments };
}

/** The result's arrays, holding the values before the merge. */
function targetOf({ fragment, theta, momentum, into }: MergeInput): MergeTarget {
  if (into === undefined)
    return {
      theta: { params: theta.params.slice(), selectionBias: theta.selectionBias.slice() },
      momentum: momentum.slice(),
    };
  checkFragmentValues(fragment, into.theta);
  checkLength('momentum to write', into.momentum, fragment.elementCount);
  if (into.theta.params !== theta.params) into.theta.params.set(theta.params);
  if (into.theta.selectionBias !== theta.selectionBias) into.theta.selectionBias.set(theta.selectionBias);
  if (into.momentum !== momentum) into.momentum.set(momentum);
  return into;
}

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** By hotkey, then learner name (UTF-16 code units); of one learner's claims the staler first, then by id. */
export function inMergeOrder<Claim extends ClaimTerms>(claims: readonly Claim[]): Claim[] {
  if (claims.length === 0) throw new MergeError('NO_CLAIMS', 'a merge needs at least one claim');
  if (claims.length > maxClaims)
    throw new MergeError('TOO_MANY_CLAIMS', `${claims.length} claims; at most ${maxClaims} merge at once`);
  const compare = (a: ClaimTerms, b: ClaimTerms): number =>
    compareText(a.hotkey, b.hotkey) ||
    compareText(a.learner, b.learner) ||
    b.staleness - a.staleness ||
    compareText(a.id, b.id);
  const sorted = [...claims].sort(compare);
  sorted.forEach((claim, i) => {
    if (i > 0 && compare(sorted[i - 1]!, claim) === 0)
      throw new MergeError('DUPLICATE_CLAIM', `claim ${claim.id} of ${claim.hotkey} ${claim.learner} is there twice`);
  });
  return sorted;
}

/** @throws MergeError BAD_WEIGHT */
export function checkTerms({ hotkey, learner, tokens, staleness, innerSteps }: ClaimTerms): void {
  const valid =
    Number.isFinite(tokens) &&
    tokens > 0 &&
    Number.isSafeInteger(staleness) &&
    staleness >= 0 &&
    Number.isSafeInteger(innerSteps) &&
    innerSteps >= 1;
  if (!valid)
    throw new MergeError(
      'BAD_WEIGHT',
      `${hotkey} ${learner}: expected tokens > 0, staleness >= 0, inner steps >= 1, got ${tokens}, ${staleness}, ${innerSteps}`,
    );
}

function checkClaim(claim: MergeClaim, fragment: Fragment): void {
  checkTerms(claim);
  const { hotkey, learner } = claim;
  checkLength(`pseudo-gradient of ${hotkey} ${learner}`, claim.pseudoGradient, fragment.elementCount);
  const bias = claim.selectionBias ?? new Float32Array(0);
  checkLength(`selection bias of ${hotkey} ${learner}`, bias, fragment.selectionBiasCount);
  if (!bias.every(Number.isFinite))
    throw new MergeError('NOT_FINITE', `${hotkey} ${learner}: NaN or infinity in the selection bias`);
}

/** @throws MergeError NOT_FINITE */
export function normOf({ hotkey, learner }: ClaimTerms, squares: number): number {
  if (!Number.isFinite(squares))
    throw new MergeError('NOT_FINITE', `${hotkey} ${learner}: NaN or infinity in the pseudo-gradient`);
  return Math.sqrt(squares);
}

/** In merge order; the sum is taken in that order too. */
function sharesOf(claims: readonly ClaimTerms[]): number[] {
  const weights = claims.map(({ tokens, staleness }) => tokens / (1 + staleness));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

/** merged ← merged − Σ share·bias, with the biases in merge order. */
export function mergeSelectionBias(
  staging: Staging,
  merged: Float32Array,
  biases: readonly Float32Array[],
  weighed: readonly Weighed[],
): void {
  if (merged.length === 0) return;
  const blocks = new LearnerBlocks(staging, biases);
  blocks.update(
    { from: 0, to: merged.length, coefficients: weighed.map(({ share }) => share) },
    [merged],
    ({ table, length }, [bias]) => staging.kernels.weightedShift(table, biases.length, length, bias!),
  );
}

export function applySegment(
  blocks: LearnerBlocks,
  segment: MergeSegment,
  theta: Float32Array,
  momentum: Float32Array,
  outer: OuterOptions,
): void {
  blocks.update(segment, [theta, momentum], ({ table, length, kernels }, [thetaAt, momentumAt]) => {
    const learnerCount = segment.coefficients.length;
    applyOuterStep(kernels, { table, learnerCount, length, theta: thetaAt!, momentum: momentumAt! }, outer);
    if (kernels.nonFinite(thetaAt!, length, 0x7f800000) !== 0)
      throw new MergeError('NOT_FINITE', 'the outer step overflows; lower its learning rate');
  });
}
