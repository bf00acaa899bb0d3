/**
 * @file Does one pending merge: fetches what the journal names, merges bit-exactly, stores the result. Redone after a
 * crash it makes the same bytes, so nothing has to be remembered.
 */
import { manifestOf } from '../../journal/queries.ts';
import type { RunState } from '../../journal/state.ts';
import { decodeFragment, encodeFragment } from '../../merge/codecs/fragment-file.ts';
import type { Fragment, FragmentPlan } from '../../merge/fragment-plan.ts';
import { emptyFragment } from '../../merge/fragment-values.ts';
import { type MergeClaim, type MergeResult, mergeFragment } from '../../merge/merge-fragment.ts';
import type { ArtifactRef } from '../../protocol/manifest.ts';
import type { EventBody } from '../../protocol/messages.ts';
import { fromDecimal, type Hash, toDecimal } from '../../protocol/names.ts';
import type { Store } from '../../store/port.ts';
import { assert } from '../../util/errors.ts';

/** With fewer claims, the norms of the fragment's recent merges are pooled with theirs before clipping. */
const smallCohort = 3;

export interface MergeRunnerDeps {
  readonly store: Store;
  readonly plan: FragmentPlan;
  readonly artifactOf: (bytes: Uint8Array) => ArtifactRef;
  readonly nowMs: () => number;
}

/** The `fragment-published` body of a fragment's pending merge, its artifacts stored. */
export async function runMerge(
  run: RunState,
  fragmentId: number,
  deps: MergeRunnerDeps,
): Promise<EventBody<'fragment-published'>> {
  const startedAtMs = deps.nowMs();
  const manifest = manifestOf(run);
  const fragment = deps.plan.fragments[fragmentId]!;
  const head = run.fragments[fragmentId]!;
  const pending = head.pendingMerge;
  assert(pending !== null, `fragment ${fragmentId} has no pending merge`);
  // Taken out of the fold before the first await: it may move on meanwhile.
  const { artifact, momentum, version } = head;
  const claims = pending.claims.map(({ claim, staleness }) => ({ claim: run.claims.get(claim)!, staleness }));
  // The journal keeps norms without tokens: an earlier merge counts as much as the mean claim of this one.
  const tokens = claims.reduce((sum, { claim }) => sum + claim.cellTokens, 0) / claims.length;
  const recentNorms = head.recentNorms.map((norms) => ({ norm: median(norms), tokens }));
  const theta = decodeFragment('f32', fragment, await deps.store.get(artifact));
  const velocity =
    momentum === null ? emptyFragment(fragment) : decodeFragment('f32', fragment, await deps.store.get(momentum));
  const merging: MergeClaim[] = [];
  for (const { claim, staleness } of claims) {
    const values = decodeFragment(manifest.codec, fragment, await deps.store.get(claim.body.artifact));
    merging.push({
      id: claim.id,
      hotkey: claim.hotkey,
      learner: claim.name,
      tokens: claim.cellTokens,
      staleness,
      innerSteps: claim.body.steps[1] - claim.body.steps[0],
      pseudoGradient: values.params,
      selectionBias: values.selectionBias,
    });
  }
  const merged = mergeFragment({
    fragment,
    theta,
    momentum: velocity.params,
    claims: merging,
    rule: manifest.merge.rule,
    ...(manifest.merge.trim === undefined ? {} : { trim: fromDecimal(manifest.merge.trim) }),
    outer: {
      learningRate: fromDecimal(manifest.merge.outerLearningRate),
      momentum: fromDecimal(manifest.merge.outerMomentum),
    },
    clip: { multiple: fromDecimal(manifest.merge.normClip), smallCohort },
    recentNorms,
  });
  const stored = await storeFragment(deps, fragment, merged.theta);
  const storedMomentum = await storeFragment(deps, fragment, {
    params: merged.momentum,
    selectionBias: new Float32Array(fragment.selectionBiasCount),
  });
  return {
    outerStep: pending.outerStep,
    fragment: fragmentId,
    version: version + 1,
    artifact: stored,
    momentum: storedMomentum,
    shares: pending.claims.map(({ claim }) => shareOf(merged, claim)),
    durationMs: Math.max(0, Math.round(deps.nowMs() - startedAtMs)),
  };
}

/** In the order of the `merge` event, which for two claims of one learner may be another than that of the sums. */
function shareOf({ claims }: MergeResult, id: Hash): EventBody<'fragment-published'>['shares'][number] {
  const { share, norm, clippedNorm } = claims.find((merged) => merged.id === id)!;
  return { claim: id, share: toDecimal(share), norm: toDecimal(norm), clippedNorm: toDecimal(clippedNorm) };
}

const median = (norms: readonly number[]): number => [...norms].sort((a, b) => a - b)[norms.length >> 1] ?? 0;

/** Stores absolute float32 values under their root. */
export async function storeFragment(
  deps: Pick<MergeRunnerDeps, 'store' | 'artifactOf'>,
  fragment: Fragment,
  values: { readonly params: Float32Array; readonly selectionBias: Float32Array },
): Promise<ArtifactRef> {
  const { bytes } = encodeFragment('f32', fragment, values);
  const ref = deps.artifactOf(bytes);
  await deps.store.put(ref, bytes);
  return ref;
}
