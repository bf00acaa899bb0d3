/** @file The health of a run's routers in a word, with the numbers behind it. */
import type { RoutersStatus } from '../http/status.ts';

/** Half of eight experts used alike give 0.67, two of them 0.33. */
const evenEntropy = 0.9;
const collapsedEntropy = 0.5;

/** `even`, `uneven` or `collapsed` by the entropy of the worst layer's load; dead experts are named before all else. */
export function routerWord({ entropy, deadExperts }: RoutersStatus): string {
  if (deadExperts > 0) return `${deadExperts} dead`;
  return entropy >= evenEntropy ? 'even' : entropy >= collapsedEntropy ? 'uneven' : 'collapsed';
}

/** `even (entropy 0.97, imbalance 1.31)`; `-` where nothing is known. */
export function formatRouters(routers: RoutersStatus | null): string {
  if (routers === null) return '-';
  const { entropy, imbalance } = routers;
  return `${routerWord(routers)} (entropy ${entropy.toFixed(2)}, imbalance ${imbalance.toFixed(2)})`;
}
