/**
 * @file A model of loss in the place of training: L(N, D) = E + A/N^α + B/D^β with the constants of Hoffmann et al. 2022
 * (arXiv:2203.15556, approach 3), N the parameters that are active for a token, D the merged tokens. It was fitted to dense
 * networks and one corpus, and knows nothing of staleness, cohorts or outer steps: a curve to plan by, no measurement. It is
 * capped at ln(vocabulary), which a network that guesses all tokens alike has.
 */
import type { FleetSizes } from './sizes.ts';

export const hoffmann = { e: 1.69, a: 406.4, b: 410.7, alpha: 0.34, beta: 0.28 } as const;

export const lossModelNote =
  'loss is a model, not a measurement: L = 1.69 + 406.4/N^0.34 + 410.7/D^0.28 (Hoffmann et al. 2022, arXiv:2203.15556), N active parameters, D merged tokens, and never more than the ln(vocabulary) of an untrained network, where the formula leaves networks and runs far smaller than those it was fitted to; it knows nothing of staleness or merging';

/** min(ln V, E + A/N^α + B/D^β): the formula alone says more than ln V, the loss of an untrained network, where N or D is small. */
export function modelledLoss(
  { activeParameters, vocabSize }: Pick<FleetSizes, 'activeParameters' | 'vocabSize'>,
  mergedTokens: number,
): number {
  const { e, a, b, alpha, beta } = hoffmann;
  const formula = e + a / activeParameters ** alpha + b / Math.max(1, mergedTokens) ** beta;
  return Math.min(Math.log(vocabSize), formula);
}
