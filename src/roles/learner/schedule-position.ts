/** @file Where a step stands in the learning-rate schedule: what miners train by and replays recompute. */
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
