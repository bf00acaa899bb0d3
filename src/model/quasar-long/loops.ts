/**
 * @file What loops over the whole stack add at the start of every layer: the parcae stabiliser,
 * x ← e^{−softplus(parcae_decay_raw)}·x + σ(parcae_anchor_gate)·P, then the looped injection, x ← x + σ(injection_gate)·P,
 * with P the embedding output. The gates are shared by all loops.
 */
import type { Tensor } from '../../engine/graph.ts';
import type { Carry, Scope } from './scope.ts';

/** x and anchor P (rows, hidden) → (rows, hidden). */
export function loopTerms({ g, config, param }: Scope, x: Tensor, anchor: Tensor, layer: number): Tensor {
  const prefix = `model.layers.${layer}`;
  let y = x;
  if (config.use_parcae_loop_stabilizer) {
    const kept = g.exp(g.neg(g.softplus(param(`${prefix}.parcae_decay_raw`))));
    y = g.add(g.mul(y, kept), g.mul(anchor, g.sigmoid(param(`${prefix}.parcae_anchor_gate`))));
  }
  if (config.use_looped_injection) y = g.add(y, g.mul(anchor, g.sigmoid(param(`${prefix}.injection_gate`))));
  return y;
}

/** Each loop has keys, values and states of its own: names of later loops begin with `loopN.`. */
export function carryOfLoop(carry: Carry | null, loop: number): Carry | null {
  if (carry === null || loop === 0) return carry;
  return {
    read: (name, shape) => carry.read(`loop${loop}.${name}`, shape),
    write: (name, tensor) => carry.write(`loop${loop}.${name}`, tensor),
    hasSmallScores: carry.hasSmallScores,
    cache: (name, rows) => carry.cache(`loop${loop}.${name}`, rows),
  };
}
