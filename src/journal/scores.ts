/** @file Scores of hotkeys: linear in merged tokens, with a half-life; and the weights that validators publish. */
import { type Decimal, fromDecimal, type Hotkey } from '../protocol/names.ts';
import { manifestOf } from './queries.ts';
import type { RunState } from './state.ts';

/**
 * 2^(−tempos / halfLife). Only divisions and square roots, which IEEE 754 rounds in one way: `Math.pow` may differ between
 * machines, and then their folds would.
 */
export function decayOf(halfLifeTempos: Decimal, tempos: number): number {
  const halfLife = fromDecimal(halfLifeTempos);
  if (!(halfLife > 0)) return 0;
  const halvings = tempos / halfLife;
  if (halvings > 1000) return 0;
  let decay = 1;
  for (let i = 0; i < Math.floor(halvings); i++) decay /= 2;
  let fraction = halvings - Math.floor(halvings);
  let factor = 0.5;
  for (let bit = 0; bit < 52 && fraction > 0; bit++) {
    factor = Math.sqrt(factor);
    fraction *= 2;
    if (fraction >= 1) {
      decay *= factor;
      fraction -= 1;
    }
  }
  return decay;
}

/**
 * Weights of all hotkeys with a score, summing to 1: `verdictShare` of them by settled verdicts, the rest by merged tokens.
 * Where only one of the two kinds has a score it gets everything. Empty before the first closed tempo.
 */
export function weightsOf(state: RunState): Map<Hotkey, number> {
  const hotkeys = [...state.hotkeys.values()].sort((a, b) => (a.hotkey < b.hotkey ? -1 : 1));
  const tokens = hotkeys.reduce((sum, each) => sum + each.score, 0);
  const verdicts = hotkeys.reduce((sum, each) => sum + each.verdictScore, 0);
  const share = fromDecimal(manifestOf(state).rewards.verdictShare);
  const verdictShare = verdicts === 0 ? 0 : tokens === 0 ? 1 : share;
  const weights = new Map<Hotkey, number>();
  for (const { hotkey, score, verdictScore } of hotkeys) {
    const byTokens = tokens === 0 ? 0 : (1 - verdictShare) * (score / tokens);
    const byVerdicts = verdicts === 0 ? 0 : verdictShare * (verdictScore / verdicts);
    if (byTokens + byVerdicts > 0) weights.set(hotkey, byTokens + byVerdicts);
  }
  return weights;
}
