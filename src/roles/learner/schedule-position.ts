/** @file Where a step stands in the learning-rate schedule: what miners train by and replays recompute. */
import type { Phase, RunManifest } from '../../protocol/manifest.ts';
import type { Range } from '../../util/ranges.ts';

/** Sequences [from, to) of a phase's order, and the schedule position (tokens) at both ends. */
export interface LeaseTerms {
  readonly phase: number;
  readonly range: Range;
  readonly scheduleTokens: readonly [start: number, end: number];
}

/** At the sequence `next` of the lease; linear between the lease's ends. */
export function scheduleTokensAt(
  { range, scheduleTokens: [start, end] }: Pick<LeaseTerms, 'range' | 'scheduleTokens'>,
  next: number,
): number {
  return Math.round(start + ((end - start) * (next - range[0])) / (range[1] - range[0]));
}

/** The joiner's factor on the learning rate, in (0, 1], at its own step `stepsDone` since the join. */
export function warmupOf(joinWarmupSteps: number, stepsDone: number): number {
  return joinWarmupSteps === 0 ? 1 : Math.min(1, (stepsDone + 1) / joinWarmupSteps);
}

/** What the batch of a step depends on. */
export interface BatchTerms {
  readonly batchSequences: number;
  readonly microBatches?: number | undefined;
  readonly ramp?: Phase['batch'];
}

export const batchTermsOf = (
  { recipe, phases }: Pick<RunManifest, 'recipe'> & { readonly phases: readonly Phase[] },
  phase: number,
): BatchTerms => ({
  batchSequences: recipe.batchSequences,
  microBatches: recipe.microBatches,
  ramp: phases[phase]?.batch,
});

/** Sequences of a step at a position in its phase's schedule: whole micro-batches, rising to the recipe's. */
export function batchSequencesAt(
  { batchSequences, microBatches = 1, ramp }: BatchTerms,
  scheduleTokens: number,
): number {
  if (ramp === undefined || scheduleTokens >= ramp.rampTokens) return batchSequences;
  const rows = batchSequences / microBatches;
  const risen = ((batchSequences - ramp.startSequences) * scheduleTokens) / ramp.rampTokens;
  return ramp.startSequences + Math.floor(risen / rows) * rows;
}
