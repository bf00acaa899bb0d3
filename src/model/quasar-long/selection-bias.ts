/**
 * @file Load balancing without an auxiliary loss (DeepSeek-V3, arXiv:2412.19437 section 2.1.2; Ling 2.0): after each
 * inner step the router's selection bias moves towards the experts that had too little. The bias decides who is chosen
 * and never enters a weight, so no gradient reaches it.
 */

/** b_e ← b_e + rate·sign(mean load − load_e). Mutates `bias`; `load` is the step's assignments to each expert. */
export function updateSelectionBias(bias: Float32Array, load: ArrayLike<number>, rate: number): void {
  let total = 0;
  for (let e = 0; e < bias.length; e++) total += load[e]!;
  const mean = total / bias.length;
  for (let e = 0; e < bias.length; e++) bias[e] = bias[e]! + rate * Math.sign(mean - load[e]!);
}

/** Greatest load over the mean: 1 is perfect balance. */
export function loadImbalance(load: ArrayLike<number>): number {
  let total = 0;
  let greatest = 0;
  for (let e = 0; e < load.length; e++) {
    total += load[e]!;
    greatest = Math.max(greatest, load[e]!);
  }
  return total === 0 ? 1 : (greatest * load.length) / total;
}
