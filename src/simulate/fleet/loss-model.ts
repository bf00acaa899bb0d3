/**
 * @file A model of loss in the place of training: L(N, D) = E + A/N^α + B/D^β with the constants of Hoffmann et al. 2022
 * (arXiv:2203.15556, approach 3), N the parameters that are active for a token, D the merged tokens. It was fitted to dense
 * networks and one corpus, and knows nothing of staleness, cohorts or outer steps: a curve to plan by, no measurement.
 */

export const hoffmann = { e: 1.69, a: 406.4, b: 410.7, alpha: 0.34, beta: 0.28 } as const;

export const lossModelNote =
  'loss is a model, not a measurement: L = 1.69 + 406.4/N^0.34 + 410.7/D^0.28 (Hoffmann et al. 2022, arXiv:2203.15556), N active parameters, D merged tokens; it knows nothing of staleness or merging, and gives networks or runs far smaller than those it was fitted to more than the ln(vocabulary) that an untrained one has';

export function modelledLoss(activeParameters: number, mergedTokens: number): number {
  const { e, a, b, alpha, beta } = hoffmann;
  return e + a / activeParameters ** alpha + b / Math.max(1, mergedTokens) ** beta;
}
