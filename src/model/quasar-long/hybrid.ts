/**
 * @file A layer's attention: softmax attention, and in hybrid layers the gated addition of linear branches:
 * out = GQA(x) + σ(replace_alpha_raw)·z, z the branches' weighted sum after gains, local window and low-rank adapter. In
 * replacement mode "full" (or "replace", "linear") out = z; where `hybrid_alpha_zero_bypass` skips z, out = GQA(x) always.
 */
import type { Tensor } from '../../engine/graph.ts';
import { attention } from './attention.ts';
import { type Branch, branchesByLayer, branchNames, dropsSoftmax, localWindow } from './config.ts';
import { glaBranch } from './gla-branch.ts';
import { quasarBranch } from './quasar-branch.ts';
import { ravenBranch } from './raven-branch.ts';
import { linear, type Scope } from './scope.ts';

/** Below this replace_alpha_raw `hybrid_alpha_zero_bypass` skips the branches. */
const bypassBelow = -13.8;

/** x (rows, hidden), normalised → (rows, hidden). */
export function hybridAttention(scope: Scope, x: Tensor, layer: number): Tensor {
  const { g, config } = scope;
  const prefix = `model.layers.${layer}.attention`;
  if (!config.hybrid_attention_layers.includes(layer)) return attention(scope, x, prefix);
  const z = branchSum(scope, x, layer);
  if (dropsSoftmax(config)) {
    const replaced = z === null ? g.mul(x, 0) : g.add(z, adapter(scope, z, prefix) ?? 0);
    if (!config.hybrid_alpha_zero_bypass) return replaced;
    return g.where(isBypassed(scope, prefix), attention(scope, x, prefix), replaced);
  }
  const softmax = attention(scope, x, prefix);
  if (z === null) return softmax;
  // The adapter is linear, so the gate is already part of z: one product over the rows instead of two.
  return g.add(g.add(softmax, z), adapter(scope, z, prefix) ?? 0);
}

/** z after gains and gate, before the adapter; null where the layer owns neither a branch nor a local window. */
function branchSum(scope: Scope, x: Tensor, layer: number): Tensor | null {
  const { g, config } = scope;
  const prefix = `model.layers.${layer}.attention`;
  const branches = branchesByLayer(config)[layer]!;
  const keys = localWindow(config, layer);
  const gains = outerGains(scope, prefix);
  if (keys === 0) {
    if (branches.length === 0) return null;
    if (branches.length === 1) {
      // All gains are one vector: one product over the rows instead of four.
      const only = branches[0]!;
      const scalar = g.mul(mixWeight(scope, prefix, branches, only), innerGain(scope, prefix));
      return g.mul(branchOutput(scope, x, layer, only), g.mul(gains, scalar));
    }
    return g.mul(mixedBranches(scope, x, layer), g.mul(gains, innerGain(scope, prefix)));
  }
  const share = g.minimum(
    g.sigmoid(scope.param(`${prefix}.branch_local_window_mix_logit`)),
    config.hybrid_local_window_max_fraction,
  );
  const local = g.mul(attention(scope, x, prefix, { lastKeys: keys, stateName: `${prefix}.window` }), share);
  if (branches.length === 0) return g.mul(local, gains);
  const rest = g.mul(innerGain(scope, prefix), g.sub(1, share));
  return g.mul(g.add(g.mul(mixedBranches(scope, x, layer), rest), local), gains);
}

/** Σ m·b over the layer's branches. */
function mixedBranches(scope: Scope, x: Tensor, layer: number): Tensor {
  const { g, config } = scope;
  const branches = branchesByLayer(config)[layer]!;
  const prefix = `model.layers.${layer}.attention`;
  return branches
    .map((branch) => g.mul(branchOutput(scope, x, layer, branch), mixWeight(scope, prefix, branches, branch)))
    .reduce((sum, part) => g.add(sum, part));
}

function branchOutput(scope: Scope, x: Tensor, layer: number, branch: Branch): Tensor {
  const prefix = `model.layers.${layer}.attention.${branch}_attention`;
  if (branch === 'quasar') return quasarBranch(scope, x, prefix);
  return branch === 'raven' ? ravenBranch(scope, x, prefix) : glaBranch(scope, x, prefix, layer);
}

/** m (1): softmax over branch_mix_logits, of the layer's branches, normalised with the floor 1e-6. */
function mixWeight({ g, param }: Scope, prefix: string, branches: readonly Branch[], branch: Branch): Tensor {
  const all = g.softmax(param(`${prefix}.branch_mix_logits`));
  const at = (name: Branch) => g.slice(all, 0, branchNames.indexOf(name), branchNames.indexOf(name) + 1);
  const sum = branches.map(at).reduce((a, b) => g.add(a, b));
  const weight = g.div(at(branch), g.maximum(sum, 1e-6));
  // Alone it is 1 unless clamped, and its gradient rounding noise.
  return branches.length === 1 ? g.stopGradient(weight) : weight;
}

/** (1): branch_global_output_gain / max(branch_output_gain, 1e-6), before the local window. */
function innerGain({ g, param }: Scope, prefix: string): Tensor {
  return g.div(param(`${prefix}.branch_global_output_gain`), g.maximum(param(`${prefix}.branch_output_gain`), 1e-6));
}

/** (hidden): gate · branch_output_gain · branch_output_channel_gain, after the local window. */
function outerGains(scope: Scope, prefix: string): Tensor {
  const { g, config, param } = scope;
  const gains = g.mul(param(`${prefix}.branch_output_channel_gain`), param(`${prefix}.branch_output_gain`));
  if (dropsSoftmax(config)) return gains;
  const gate = g.sigmoid(param(`${prefix}.replace_alpha_raw`));
  return g.mul(gains, config.hybrid_alpha_zero_bypass ? g.where(isBypassed(scope, prefix), 0, gate) : gate);
}

/** (1) bool. */
function isBypassed({ g, param }: Scope, prefix: string): Tensor {
  return g.less(param(`${prefix}.replace_alpha_raw`), bypassBelow);
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
