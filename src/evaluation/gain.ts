/**
 * @file The gain of one claim: does its pseudo-gradient, at the outer rate, lower the loss on sequences drawn after the
 * commit? One test refuses only proven harm; evidence of no gain costs nothing here.
 */
import { assert } from '../util/errors.ts';
import { studentTQuantile } from './student-t.ts';

/** One-sided confidence of the bound that a refusal rests on. */
export const gainConfidence = 0.999;

export interface GainJudgement {
  /** Mean over sequences of loss without − loss with (nats a token): positive helps. */
  readonly gain: number;
  readonly standardError: number;
  /** Upper 99.9 % bound of the mean gain, by Student's t with n − 1 degrees of freedom; +∞ with one sequence. */
  readonly upperBound: number;
  readonly isHarmful: boolean;
  readonly sequences: number;
}

/**
 * Judges paired per-sequence losses. Losses that are finite without the pseudo-gradient and not with it are harm beyond
 * any bound; harm of less than `harmMargin` nats is left to the average. The t bound is exact for normal differences; with few samples it is wide, so it errs towards acceptance.
 */
export function judgeGain(without: Float64Array, withGradient: Float64Array, harmMargin = 0): GainJudgement {
  const n = without.length;
  assert(n > 0 && n === withGradient.length, `judgeGain: expected pairs, got ${n} and ${withGradient.length}`);
  if (withGradient.some((loss, i) => !Number.isFinite(loss) && Number.isFinite(without[i]!)))
    return { gain: -Infinity, standardError: 0, upperBound: -Infinity, isHarmful: true, sequences: n };
  const differences = without.map((loss, i) => loss - withGradient[i]!);
  const gain = differences.reduce((sum, d) => sum + d, 0) / n;
  if (n === 1) return { gain, standardError: Infinity, upperBound: Infinity, isHarmful: false, sequences: n };
  const variance = differences.reduce((sum, d) => sum + (d - gain) ** 2, 0) / (n - 1);
  const standardError = Math.sqrt(variance / n);
  const upperBound = gain + studentTQuantile(gainConfidence, n - 1) * standardError;
  return { gain, standardError, upperBound, isHarmful: upperBound < -harmMargin, sequences: n };
}
