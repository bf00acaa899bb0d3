/**
 * @file A merge as the journal tells it: what goes in, taken out of the fold, and the bytes that must come out. Pure but for
 * the reading of artifacts, which is handed in; the syncer makes merges with it, validators and outsiders make them again.
 */
import { manifestOf } from '../journal/queries.ts';
import type { RunState } from '../journal/state.ts';
import { decodeFragment, encodeFragment } from '../merge/codecs/fragment-file.ts';
import type { Fragment, FragmentPlan } from '../merge/fragment-plan.ts';
import { emptyFragment } from '../merge/fragment-values.ts';
import { type MergeClaim, type MergeResult, mergeFragment } from '../merge/merge-fragment.ts';
import type { ArtifactRef, RunManifest } from '../protocol/manifest.ts';
import type { EventBody } from '../protocol/messages.ts';
import { fromDecimal, type Hash, toDecimal } from '../protocol/names.ts';
import { assert } from '../util/errors.ts';

/** With fewer claims, the norms of the fragment's recent merges are pooled with theirs before clipping. */
const smallCohort = 3;

/** Data only: the fold may move on while the merge is computed. */
export interface MergeInputs {
  readonly manifest: RunManifest;
  readonly fragment: number;
  readonly outerStep: number;
  readonly fromVersion: number;
  readonly theta: ArtifactRef;
  /** Null before the first merge: zeros. */
  readonly momentum: ArtifactRef | null;
  /** In the order of the `merge` event. */
  readonly claims: readonly (Omit<MergeClaim, 'pseudoGradient' | 'selectionBias'> & {
    readonly artifact: ArtifactRef;
  })[];
  readonly recentNorms: readonly { readonly norm: number; readonly tokens: number }[];
}

/** Of a fragment whose merge is journaled and not published. */
export function mergeInputsOf(run: RunState, fragment: number): MergeInputs {
  const head = run.fragments[fragment]!;
  const pending = head.pendingMerge;
  assert(pending !== null, `fragment ${fragment} has no pending merge`);
  const claims = pending.claims.map(({ claim: id, staleness }) => {
    const { body, hotkey, name, cellTokens } = run.claims.get(id as Hash)!;
    const innerSteps = body.steps[1] - body.steps[0];
    return { id, hotkey, learner: name, tokens: cellTokens, staleness, innerSteps, artifact: body.artifact };
  });
  // The journal keeps norms without tokens: an earlier merge counts as much as the mean claim of this one.
  const tokens = claims.reduce((sum, claim) => sum + claim.tokens, 0) / claims.length;
  return {
    manifest: manifestOf(run),
    fragment,
    outerStep: pending.outerStep,
    fromVersion: head.version,
    theta: head.artifact,
    momentum: head.momentum,
    claims,
    recentNorms: head.recentNorms.map((norms) => ({ norm: median(norms), tokens })),
  };
}

const median = (norms: readonly number[]): number => [...norms].sort((a, b) => a - b)[norms.length >> 1] ?? 0;

export interface RecomputedMerge {
  /** Fragment files in `f32`. */
  readonly theta: Uint8Array;
  readonly momentum: Uint8Array;
  /** In the order of the `merge` event. */
  readonly shares: EventBody<'fragment-published'>['shares'];
}

/** The same bits on every machine. @throws MergeError, CodecError, and what `read` throws */
export async function recomputeMerge(
  inputs: MergeInputs,
  plan: FragmentPlan,
  read: (artifact: ArtifactRef) => Promise<Uint8Array>,
): Promise<RecomputedMerge> {
  const { codec, merge } = inputs.manifest;
  const fragment = plan.fragments[inputs.fragment]!;
  const theta = decodeFragment('f32', fragment, await read(inputs.theta));
  const momentum =
    inputs.momentum === null ? emptyFragment(fragment) : decodeFragment('f32', fragment, await read(inputs.momentum));
  const claims: MergeClaim[] = [];
  for (const { artifact, ...claim } of inputs.claims) {
    const values = decodeFragment(codec, fragment, await read(artifact));
    claims.push({ ...claim, pseudoGradient: values.params, selectionBias: values.selectionBias });
  }
  const merged = mergeFragment({
    fragment,
    theta,
    momentum: momentum.params,
    claims,
    rule: merge.rule,
    outer: { learningRate: fromDecimal(merge.outerLearningRate), momentum: fromDecimal(merge.outerMomentum) },
    clip: { multiple: fromDecimal(merge.normClip), smallCohort },
    recentNorms: inputs.recentNorms,
    into: { theta, momentum: momentum.params },
  });
  return {
    theta: encodeState(fragment, merged.theta),
    momentum: encodeState(fragment, { params: merged.momentum, selectionBias: noBias(fragment) }),
    shares: inputs.claims.map(({ id }) => shareOf(merged, id as Hash)),
  };
}

const noBias = (fragment: Fragment): Float32Array => new Float32Array(fragment.selectionBiasCount);

/** Absolute float32 values as a fragment file. */
export const encodeState = (
  fragment: Fragment,
  values: { readonly params: Float32Array; readonly selectionBias: Float32Array },
): Uint8Array => encodeFragment('f32', fragment, values).bytes;

/** In the order of the `merge` event, which for two claims of one learner may be another than that of the sums. */
function shareOf({ claims }: MergeResult, id: Hash): EventBody<'fragment-published'>['shares'][number] {
  const { share, norm, clippedNorm } = claims.find((merged) => merged.id === id)!;
  return { claim: id, share: toDecimal(share), norm: toDecimal(norm), clippedNorm: toDecimal(clippedNorm) };
}
