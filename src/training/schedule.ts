/** @file The learning rate as a function of counted tokens: warm-up, then the phase's curve. */
import type { Phase } from '../protocol/manifest.ts';
import { fromDecimal } from '../protocol/names.ts';

export type Schedule = Phase['schedule'];

/** Share of a `wsd` schedule that decays. */
const wsdDecayShare = 0.2;

/**
 * Rises linearly over `warmupTokens` (from `warmupFrom`, or 0), then follows the curve down to the final rate at `totalTokens`, and stays there.
 * `wsd` (warm-up, stable, decay) holds the peak until the last fifth, or the last
 * `decayTokens`, which fall linearly.
 */
export function learningRateAt(schedule: Schedule, tokens: number): number {
  const peak = fromDecimal(schedule.peakLearningRate);
  const final = fromDecimal(schedule.finalLearningRate);
  const { kind, warmupTokens, totalTokens, warmupFrom, decayTokens } = schedule;
  const from = warmupFrom === undefined ? 0 : fromDecimal(warmupFrom);
  if (tokens < warmupTokens) return from + (peak - from) * (tokens / warmupTokens);
  if (kind === 'constant') return peak;
  const span = totalTokens - warmupTokens;
  const progress = span <= 0 ? 1 : Math.min(1, (tokens - warmupTokens) / span);
  switch (kind) {
    case 'linear':
      return peak + (final - peak) * progress;
    case 'cosine':
      return final + (peak - final) * 0.5 * (1 + Math.cos(Math.PI * progress));
    case 'wsd': {
      const share = decayTokens === undefined ? wsdDecayShare : decayTokens / Math.max(1, span);
      return peak + (final - peak) * Math.max(0, (progress - (1 - share)) / share);
    }
  }
}
