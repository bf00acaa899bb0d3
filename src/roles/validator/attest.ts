/**
 * @file Recomputes the merges of one segment, momentum included, one after another in the memory of one. Says where the
 * record and the recomputation part for the first time; signs nothing.
 */
import type { Fragment, FragmentPlan } from '../../merge/fragment-plan.ts';
import type { ArtifactRef, RunManifest } from '../../protocol/manifest.ts';
import type { Store } from '../../store/port.ts';
import { canonicalJson } from '../../util/canonical-json.ts';
import { computeMerge, type MergeInput, MergeWorkspace } from '../merge-computation.ts';
import type { PublishedMerge } from '../merge-history.ts';
import { isMergedInParts, namingWriter, type StreamedMergeOutput, streamMerge } from '../streamed-merge.ts';

export interface Divergence {
  readonly outerStep: number;
  readonly fragment: number;
  readonly what: 'version' | 'artifact' | 'momentum' | 'shares';
  readonly expected: string;
  readonly found: string;
}

export interface AttestDeps {
  readonly manifest: RunManifest;
  readonly plan: FragmentPlan;
  readonly store: Pick<Store, 'get' | 'parts'>;
  readonly artifactOf: (bytes: Uint8Array) => ArtifactRef;
  readonly signal: AbortSignal;
}

/** The first merge that differs, or null. @throws StoreError, LostClaimError where bytes are gone */
export async function findDivergence(merges: readonly PublishedMerge[], deps: AttestDeps): Promise<Divergence | null> {
  const { plan } = deps;
  const workspace = new MergeWorkspace();
  for (const { input, published } of merges) {
    const fragment = plan.fragments[input.fragment]!;
    const merged = await remake(input, { ...deps, fragment, workspace });
    const pairs: readonly (readonly [Divergence['what'], string, string])[] = [
      ['version', String(input.fromVersion + 1), String(published.version)],
      ['artifact', merged.theta.root, published.artifact.root],
      ['momentum', merged.momentum.root, published.momentum.root],
      ['shares', canonicalJson(merged.shares), canonicalJson(published.shares)],
    ];
    const differing = pairs.find(([, expected, found]) => expected !== found);
    if (differing === undefined) continue;
    const [what, expected, found] = differing;
    return { outerStep: input.outerStep, fragment: input.fragment, what, expected, found };
  }
  return null;
}

/** Keeps nothing but the names. */
async function remake(
  input: MergeInput,
  options: AttestDeps & { readonly fragment: Fragment; readonly workspace: MergeWorkspace },
): Promise<StreamedMergeOutput> {
  const { fragment, store, artifactOf } = options;
  if (store.parts !== undefined && isMergedInParts(fragment))
    return streamMerge(input, { ...options, read: store.parts.read, create: namingWriter });
  const { theta, momentum, shares } = await computeMerge(input, options);
  return { theta: artifactOf(theta), momentum: artifactOf(momentum), shares };
}
