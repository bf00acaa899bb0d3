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

/** One sentence's worth of many routers: the worst of each number. */
export interface RoutersHealth {
  readonly entropy: number;
  readonly imbalance: number;
  readonly deadExperts: number;
}

/** The worst entropy and imbalance, all dead experts; null of no routers. */
export function worstOf(routers: readonly RouterHealth[]): RoutersHealth | null {
  if (routers.length === 0) return null;
  return {
    entropy: Math.min(...routers.map((router) => router.entropy)),
    imbalance: Math.max(...routers.map((router) => router.imbalance)),
    deadExperts: routers.reduce((sum, router) => sum + router.deadExperts, 0),
  };
}

/** Means of `worstOf` over steps: one batch is too few tokens to judge by. Dead experts are those of the last step. */
export class RouterMeter {
  #steps = 0;
  #entropy = 0;
  #imbalance = 0;
  #deadExperts = 0;

  add(routers: readonly RouterHealth[]): void {
    const worst = worstOf(routers);
    if (worst === null) return;
    this.#steps++;
    this.#entropy += worst.entropy;
    this.#imbalance += worst.imbalance;
    this.#deadExperts = worst.deadExperts;
  }

  /** Since the last call; null without a step in between. */
  take(): RoutersHealth | null {
    if (this.#steps === 0) return null;
    const [entropy, imbalance] = [this.#entropy / this.#steps, this.#imbalance / this.#steps];
    [this.#steps, this.#entropy, this.#imbalance] = [0, 0, 0];
    return { entropy, imbalance, deadExperts: this.#deadExperts };
  }
}

/** Of the whole load of a router: an expert without a token of it is dead. */
export const routerHealthOf = (name: string, load: ArrayLike<number>): RouterHealth => ({
  name,
  imbalance: loadImbalance(load),
  entropy: loadEntropy(load),
  deadExperts: Array.from(load).filter((count) => count === 0).length,
});

/** 1 for one expert or no load: nothing is unbalanced there. */
export function loadEntropy(load: ArrayLike<number>): number {
  const counts = Array.from(load);
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0 || counts.length === 1) return 1;
  const entropy = counts.reduce((sum, n) => (n === 0 ? sum : sum - (n / total) * Math.log(n / total)), 0);
  return entropy / Math.log(counts.length);
}
