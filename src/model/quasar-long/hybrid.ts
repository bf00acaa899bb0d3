/**
 * @file A layer's attention: softmax attention, and in hybrid layers the gated addition of one linear branch:
 * out = GQA(x) + σ(replace_alpha_raw)·z, z the branch's output after gains and the low-rank adapter.
 */
import type { Tensor } from '../../engine/graph.ts';
import { attention } from './attention.ts';
import type { Branch } from './config.ts';
import { glaBranch } from './gla-branch.ts';
import { quasarBranch } from './quasar-branch.ts';
import { ravenBranch } from './raven-branch.ts';
import { linear, type Scope } from './scope.ts';

/** Order of branch_mix_logits. */
const mixOrder: readonly Branch[] = ['quasar', 'raven', 'gla'];

/** x (rows, hidden), normalised → (rows, hidden). */
export function hybridAttention(scope: Scope, x: Tensor, layer: number, branch: Branch | null): Tensor {
  const { g } = scope;
  const prefix = `model.layers.${layer}.attention`;
  const softmax = attention(scope, x, prefix);
  if (branch === null) return softmax;
  const raw = branchOutput(scope, x, layer, branch);
  // Gains and the gate are one vector, as the adapter is linear: one product over the rows instead of five.
  const z = g.mul(raw, gatedGains(scope, prefix, branch));
  return g.add(g.add(softmax, z), adapter(scope, z, prefix) ?? 0);
}

function branchOutput(scope: Scope, x: Tensor, layer: number, branch: Branch): Tensor {
  const prefix = `model.layers.${layer}.attention.${branch}_attention`;
  if (branch === 'quasar') return quasarBranch(scope, x, prefix);
  return branch === 'raven' ? ravenBranch(scope, x, prefix) : glaBranch(scope, x, prefix, layer);
}

/**
 * (hidden): σ(replace_alpha_raw) · mix · global gain · (gain / max(gain, 1e-6)) · channel gain. With one branch in a
 * layer mix = m/max(m, 1e-6), m its softmax weight; it and the gain's quotient are 1, without gradient, unless clamped.
 */
function gatedGains(scope: Scope, prefix: string, branch: Branch): Tensor {
  const { g, param } = scope;
  const at = mixOrder.indexOf(branch);
  const m = g.slice(g.softmax(param(`${prefix}.branch_mix_logits`)), 0, at, at + 1);
  const gain = param(`${prefix}.branch_output_gain`);
  const cancelled = g.mul(g.div(m, g.maximum(m, 1e-6)), g.div(gain, g.maximum(gain, 1e-6)));
  const gate = g.sigmoid(param(`${prefix}.replace_alpha_raw`));
  const scalar = g.mul(g.mul(gate, param(`${prefix}.branch_global_output_gain`)), g.stopGradient(cancelled));
  return g.mul(param(`${prefix}.branch_output_channel_gain`), scalar);
}

/** s·up(down z), s = alpha/rank; null without an adapter. */
function adapter(scope: Scope, z: Tensor, prefix: string): Tensor | null {
  const { g, config } = scope;
  const rank = config.hybrid_output_adapter_rank;
  if (rank === 0) return null;
  const narrow = g.mul(
    linear(scope, z, `${prefix}.branch_output_adapter_down`),
    (config.hybrid_output_adapter_alpha ?? rank) / rank,
  );
  return linear(scope, narrow, `${prefix}.branch_output_adapter_up`);
}
