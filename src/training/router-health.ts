/** @file How a router shares its tokens: imbalance, entropy of the load, and experts that nobody has chosen for a while. */
import { loadImbalance } from '../model/quasar-long/selection-bias.ts';

export interface RouterHealth {
  /** Of the selection bias, which names the layer. */
  readonly name: string;
  /** Greatest load over the mean: 1 is balance. */
  readonly imbalance: number;
  /** Entropy of the load over ln(experts): 1 where all are used alike, 0 where one takes all. */
  readonly entropy: number;
  /** Experts without a token in the last `deadAfterSteps` steps or more. */
  readonly deadExperts: number;
}

/** Steps without a token after which an expert counts as dead. */
export const deadAfterSteps = 50;

/** Watches one router. */
export class RouterWatch {
  readonly #name: string;
  #idleSteps = new Uint32Array(0);

  constructor(name: string) {
    this.#name = name;
  }

  /** `load`: assignments of one step to each expert. */
  add(load: ArrayLike<number>): RouterHealth {
    if (this.#idleSteps.length !== load.length) this.#idleSteps = new Uint32Array(load.length);
    const idle = this.#idleSteps;
    for (let e = 0; e < idle.length; e++) idle[e] = load[e]! > 0 ? 0 : idle[e]! + 1;
    const deadExperts = idle.reduce((count, steps) => count + (steps >= deadAfterSteps ? 1 : 0), 0);
    return { name: this.#name, imbalance: loadImbalance(load), entropy: loadEntropy(load), deadExperts };
  }
}

/** 1 for one expert or no load: nothing is unbalanced there. */
export function loadEntropy(load: ArrayLike<number>): number {
  const counts = Array.from(load);
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0 || counts.length === 1) return 1;
  const entropy = counts.reduce((sum, n) => (n === 0 ? sum : sum - (n / total) * Math.log(n / total)), 0);
  return entropy / Math.log(counts.length);
}
