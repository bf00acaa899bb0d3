/**
 * @file Did a validator do the work that its verdict rests on? Compares what it published with what the checker computed on a
 * few of its sequences, which it could not foresee. Pure.
 */
import { judgeGain } from '../../evaluation/gain.ts';
import type { ClaimVerdict } from '../../journal/state.ts';
import type { VerdictDetails } from '../../protocol/details.ts';
import { type Decimal, fromDecimal } from '../../protocol/names.ts';
import { finite } from './checks.ts';

/**
 * Losses of one sequence are the same bits on one machine, whatever threads and batch (`docs/experiments.md`); other
 * processors and builds round float32 sums otherwise, by some 1e-6 at most where anybody has looked. A thousand times as
 * much is nobody's rounding. Norms are a sum of squares in fixed order, and a verdict's gain follows from its own losses.
 */
export const lossTolerance = 1e-3;
export const exactTolerance = 1e-6;

/** Computed again for one of the validator's positions. */
export interface LossSample {
  readonly position: number;
  readonly before: number;
  readonly after: number;
}

/** The norm that an honest check of the same bytes measures; verdicts that never came so far have none to compare. */
export function isNormWrong({ code, measurements }: ClaimVerdict, norm: number): boolean {
  if (!['OK', 'NORM_LOW', 'NORM_HIGH', 'HARMFUL'].includes(code)) return false;
  // A selection bias is checked before the norm is said.
  if (measurements.norm === undefined) return measurements.bias === undefined;
  return !isNear(fromDecimal(measurements.norm), norm, exactTolerance, 0);
}

/** Whether a gain test must have been made for this verdict. */
export const needsDetails = ({ code }: ClaimVerdict, gainTested: boolean): boolean =>
  gainTested && (code === 'OK' || code === 'HARMFUL');

/** What is wrong with published details before anything is computed, or null. */
export function findFormFault(
  details: VerdictDetails | null,
  {
    verdict,
    heads,
    positions,
  }: {
    readonly verdict: ClaimVerdict & { readonly claim: string };
    readonly heads: readonly string[];
    readonly positions: readonly number[];
  },
): string | null {
  if (details === null) return 'published no details of its gain test';
  if (details.claim !== verdict.claim || details.validator !== verdict.hotkey) return 'published another’s details';
  if (details.heads.join() !== heads.join()) return 'tested other fragments than those of the commit';
  if (details.positions.join() !== positions.join()) return 'tested other sequences than those drawn for it';
  const losses = [details.lossesBefore, details.lossesAfter].map((list) => Float64Array.from(list, fromDecimal));
  const { gain } = judgeGain(losses[0]!, losses[1]!);
  const said: Decimal | undefined = verdict.measurements.gain;
  if (said === undefined || !isNear(fromDecimal(said), finite(gain), exactTolerance))
    return 'says a gain that its own losses do not give';
  return null;
}

/** The first position whose published losses are not those computed, or null. */
export function findLossFault(details: VerdictDetails, samples: readonly LossSample[]): string | null {
  for (const { position, before, after } of samples) {
    const i = details.positions.indexOf(position);
    for (const [list, own] of [
      [details.lossesBefore, before],
      [details.lossesAfter, after],
    ] as const) {
      const said = fromDecimal(list[i]!);
      if (!isNear(said, finite(own), lossTolerance))
        return `says a loss of ${said.toPrecision(6)} at ${position}, computed: ${own.toPrecision(6)}`;
    }
  }
  return null;
}

/** Relative; below `floor` absolute: a gain near zero has no relative precision. */
const isNear = (a: number, b: number, tolerance: number, floor = 1): boolean =>
  Math.abs(a - b) <= tolerance * Math.max(floor, Math.abs(a), Math.abs(b));
