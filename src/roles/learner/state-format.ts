/** @file The form in which a run's learners name, keep and show their states: as they are, or rounded (manifest, `audit.stateFormat`). */
import type { FragmentPlan } from '../../merge/fragment-plan.ts';
import type { FragmentValues } from '../../merge/fragment-values.ts';
import type { RunManifest } from '../../protocol/manifest.ts';
import { flatLayout } from '../../tensor/flat-params.ts';
import type { RunModel } from '../run-model.ts';
import { exactSizeBytes, type LearnerState, readState } from './learner-state.ts';
import { fragmentRanges } from './replay-compare.ts';
import { type RoundedLayout, readRounded, roundedSizeBytes, versionsTaken } from './rounded-state.ts';

export type StateTerms = Pick<RunManifest, 'codec'> & { readonly audit: Pick<RunManifest['audit'], 'stateFormat'> };

export const isRounded = ({ audit }: StateTerms): boolean => audit.stateFormat === 'rounded';

/** What the trace's roots of this run are roots of, to the byte. */
export const stateSizeBytes = (plan: FragmentPlan, terms: StateTerms): number =>
  isRounded(terms) ? roundedSizeBytes(plan, terms.codec) : exactSizeBytes(plan);

/** Null where the run's states are exact. */
export function roundedLayoutOf({ contract, plan }: RunModel, terms: StateTerms): RoundedLayout | null {
  if (!isRounded(terms)) return null;
  const ranges = fragmentRanges(plan, flatLayout(contract), flatLayout(contract, ['selection-bias']));
  return { plan, ranges, codec: terms.codec };
}

/**
 * A state from a stranger. `taken` fetches a published version that the state says to stand on, and throws where none is.
 * @throws RoleError BAD_STATE; what `taken` throws
 */
export async function readAnyState(
  model: RunModel,
  terms: StateTerms,
  bytes: Uint8Array,
  taken: (fragment: number, version: number) => Promise<FragmentValues>,
): Promise<LearnerState> {
  const layout = roundedLayoutOf(model, terms);
  if (layout === null) return readState(model.plan, bytes);
  const versions = versionsTaken(layout, bytes);
  return readRounded(layout, bytes, await Promise.all(versions.map((version, fragment) => taken(fragment, version))));
}
