/** @file Measures a claim's gain: the same sequences through the same model, with and without its pseudo-gradient. */
import type { Sequence } from '../data/shards.ts';
import type { Fragment, TensorSlice } from '../merge/fragment-plan.ts';
import { checkFragmentValues, type FragmentValues } from '../merge/fragment-values.ts';
import { floatsOf, type Params } from '../model/quasar-long/init.ts';
import type { Evaluator, SequenceLosses } from './evaluator.ts';
import { type GainJudgement, judgeGain } from './gain.ts';

export interface ClaimGainOptions {
  /** The fragment heads as of the claim's commit: every tensor of the contract. Read only. */
  readonly params: Params;
  readonly fragment: Fragment;
  /** The decoded claim: pseudo-gradient, and selection biases as anchor − local too. */
  readonly claim: FragmentValues;
  readonly outerRate: number;
  /** Nats a token that a claim may cost before it is harmful; 0 if left out. */
  readonly harmMargin?: number;
  readonly sequences: readonly Sequence[];
}

export interface ClaimGain extends GainJudgement {
  readonly without: SequenceLosses;
  readonly withClaim: SequenceLosses;
}

/** Losses of both models on every sequence, and the judgement. */
export async function measureClaimGain(evaluator: Evaluator, options: ClaimGainOptions): Promise<ClaimGain> {
  const { params, sequences } = options;
  const without = await evaluator.sequenceLosses(params, sequences);
  const withClaim = await evaluator.sequenceLosses(applyClaim(options), sequences);
  return { ...judgeGain(without.losses, withClaim.losses, options.harmMargin), without, withClaim };
}

/**
 * Θ − η·Δ for the fragment's rows, and selection biases shifted at rate 1. Only tensors that the
 * fragment touches are copied.
 */
export function applyClaim(options: Omit<ClaimGainOptions, 'sequences'>): Params {
  const { params, fragment, claim, outerRate } = options;
  checkFragmentValues(fragment, claim);
  const changed = new Map(params);
  const copyOf = ({ name, tensorOffset, length }: TensorSlice): Float32Array => {
    if (changed.get(name) === params.get(name)) changed.set(name, floatsOf(params, name).slice());
    return floatsOf(changed, name).subarray(tensorOffset, tensorOffset + length);
  };
  for (const slice of fragment.slices) {
    const rows = copyOf(slice);
    for (let i = 0; i < rows.length; i++) rows[i] = rows[i]! - outerRate * claim.params[slice.offset + i]!;
  }
  for (const slice of fragment.selectionBiases) {
    const biases = copyOf(slice);
    for (let i = 0; i < biases.length; i++) biases[i] = biases[i]! - claim.selectionBias[slice.offset + i]!;
  }
  return changed;
}
