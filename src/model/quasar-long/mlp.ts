/** @file The gated MLP (SwiGLU) of dense layers and of shared experts: down(silu(gate x) ⊙ up x). */
import type { Tensor } from '../../engine/graph.ts';
import { linear, type Scope } from './scope.ts';

/** x (rows, hidden) → (rows, hidden). */
export function mlp(scope: Scope, x: Tensor, prefix: string): Tensor {
  const { g } = scope;
  const gate = g.silu(linear(scope, x, `${prefix}.gate_proj`));
  return linear(scope, g.mul(gate, linear(scope, x, `${prefix}.up_proj`)), `${prefix}.down_proj`);
}
