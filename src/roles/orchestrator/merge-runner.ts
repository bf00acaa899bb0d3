/**
 * @file Does one pending merge: computes it from what the journal names and stores the result. Redone after a crash it
 * makes the same bytes, so nothing has to be remembered.
 */
import { manifestOf } from '../../journal/queries.ts';
import type { RunState } from '../../journal/state.ts';
import type { Fragment, FragmentPlan } from '../../merge/fragment-plan.ts';
import type { ArtifactRef, RunManifest } from '../../protocol/manifest.ts';
import type { EventBody } from '../../protocol/messages.ts';
import type { Store } from '../../store/port.ts';
import { computeMerge, encodeState, type MergeInput, pendingMergeInput } from '../merge-computation.ts';
import { isMergedInParts, type StreamedMergeOutput, streamMerge } from '../streamed-merge.ts';

export interface MergeRunnerDeps {
  readonly store: Store;
  readonly plan: FragmentPlan;
  readonly artifactOf: (bytes: Uint8Array) => ArtifactRef;
  readonly nowMs: () => number;
  /** Default: those that are too large to be in memory ten times. */
  readonly isInParts?: (fragment: Fragment) => boolean;
}

/** The `fragment-published` body of a fragment's pending merge, its artifacts stored. @throws LostClaimError, StoreError */
export async function runMerge(
  run: RunState,
  fragmentId: number,
  deps: MergeRunnerDeps,
): Promise<EventBody<'fragment-published'>> {
  const startedAtMs = deps.nowMs();
  const input = pendingMergeInput(run, fragmentId);
  const fragment = deps.plan.fragments[fragmentId]!;
  const merged = await mergeAndKeep(input, fragment, manifestOf(run), deps);
  return {
    outerStep: input.outerStep,
    fragment: fragmentId,
    version: input.fromVersion + 1,
    artifact: merged.theta,
    momentum: merged.momentum,
    shares: merged.shares,
    durationMs: Math.max(0, Math.round(deps.nowMs() - startedAtMs)),
  };
}

async function mergeAndKeep(
  input: MergeInput,
  fragment: Fragment,
  manifest: RunManifest,
  deps: MergeRunnerDeps,
): Promise<StreamedMergeOutput> {
  const { store, isInParts = isMergedInParts } = deps;
  const { parts } = store;
  if (parts?.create !== undefined && isInParts(fragment))
    return streamMerge(input, { manifest, fragment, read: parts.read, create: parts.create });
  const { theta, momentum, shares } = await computeMerge(input, { manifest, fragment, store });
  return { theta: await keep(deps, theta), momentum: await keep(deps, momentum), shares };
}

/** Stores absolute float32 values under their root. */
export function storeFragment(
  deps: Pick<MergeRunnerDeps, 'store' | 'artifactOf'>,
  fragment: Fragment,
  values: { readonly params: Float32Array; readonly selectionBias: Float32Array },
): Promise<ArtifactRef> {
  return keep(deps, encodeState(fragment, values));
}

async function keep(
  { store, artifactOf }: Pick<MergeRunnerDeps, 'store' | 'artifactOf'>,
  bytes: Uint8Array,
): Promise<ArtifactRef> {
  const ref = artifactOf(bytes);
  await store.put(ref, bytes);
  return ref;
}
