/**
 * @file Does one pending merge: fetches what the journal names, merges bit-exactly, stores the result. Redone after a
 * crash it makes the same bytes, so nothing has to be remembered.
 */
import type { RunState } from '../../journal/state.ts';
import type { Fragment, FragmentPlan } from '../../merge/fragment-plan.ts';
import type { ArtifactRef } from '../../protocol/manifest.ts';
import type { EventBody } from '../../protocol/messages.ts';
import type { Store } from '../../store/port.ts';
import { encodeState, mergeInputsOf, recomputeMerge } from '../recompute-merge.ts';

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
  // Taken out of the fold before the first await: it may move on meanwhile.
  const inputs = mergeInputsOf(run, fragmentId);
  const { theta, momentum, shares } = await recomputeMerge(inputs, deps.plan, (ref) => deps.store.get(ref));
  return {
    outerStep: inputs.outerStep,
    fragment: fragmentId,
    version: inputs.fromVersion + 1,
    artifact: await storeBytes(deps, theta),
    momentum: await storeBytes(deps, momentum),
    shares,
    durationMs: Math.max(0, Math.round(deps.nowMs() - startedAtMs)),
  };
}

type Storing = Pick<MergeRunnerDeps, 'store' | 'artifactOf'>;

async function storeBytes({ store, artifactOf }: Storing, bytes: Uint8Array): Promise<ArtifactRef> {
  const ref = artifactOf(bytes);
  await store.put(ref, bytes);
  return ref;
}

/** Stores absolute float32 values under their root. */
export const storeFragment = (
  deps: Storing,
  fragment: Fragment,
  values: { readonly params: Float32Array; readonly selectionBias: Float32Array },
): Promise<ArtifactRef> => storeBytes(deps, encodeState(fragment, values));
