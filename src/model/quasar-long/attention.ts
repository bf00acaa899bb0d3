/** @file Grouped-query softmax attention with query-key norm and partial rotary embedding; causal, within documents. */
import type { Tensor } from '../../engine/graph.ts';
import { blockedAttention } from './blocked-attention.ts';
import { cachedAttention } from './cached-attention.ts';
import { rotate } from './rope.ts';
import { linear, type Scope } from './scope.ts';

export interface Projected {
  /** (batch, time, heads, headDim), normalised and rotated. */
  readonly q: Tensor;
  /** (batch, time, kvHeads, headDim), normalised and rotated. */
  readonly k: Tensor;
  /** (batch, time, kvHeads, headDim). */
  readonly v: Tensor;
}

/** The fused projection; the gla branch has one of its own. x (rows, hidden). */
export function projectHeads(scope: Scope, x: Tensor, prefix: string): Projected {
  const { g, config, batch, time } = scope;
  const { num_attention_heads: H, num_key_value_heads: KV, head_dim: D } = config;
  const fused = linear(scope, x, `${prefix}.query_key_value`, config.use_qkv_bias);
  const [queryKey, v] = g.split(g.reshape(fused, [batch, time, H + 2 * KV, D]), 2, [H + KV, KV]);
  // Queries and keys are normalised and rotated as one tensor; their weights differ by head.
  let normal = queryKey!;
  if (config.use_qk_norm) {
    const query = g.expand(scope.param(`${prefix}.query_layernorm.weight`), [H, D]);
    const key = g.expand(scope.param(`${prefix}.key_layernorm.weight`), [KV, D]);
    normal = g.mul(g.rmsNorm(normal, null, config.rms_norm_eps), g.concat([query, key], 0));
  }
  const [q, k] = g.split(rotate(g, scope.rotation, normal), 2, [H, KV]);
  return { q: q!, k: k!, v: v! };
}

export interface AttentionOptions {
  /** A token sees only so many keys, itself included; all by default. */
  readonly lastKeys?: number;
  /** Under this name keys and values are carried; by default the prefix. */
  readonly stateName?: string;
}

/** x (rows, hidden) → (rows, hidden). */
export function attention(scope: Scope, x: Tensor, prefix: string, options: AttentionOptions = {}): Tensor {
  const { g, config, batch, time } = scope;
  const { num_attention_heads: H, num_key_value_heads: KV, head_dim: D } = config;
  const { q, k, v } = projectHeads(scope, x, prefix);
  const byHead = (y: Tensor) => g.transpose(y, [0, 2, 1, 3]);
  // The G query heads of a key-value head are consecutive: one product serves them all.
  const queries = g.reshape(byHead(q), [batch, KV, H / KV, time, D]);
  const inputs = { queries, keys: byHead(k), values: byHead(v) };
  const lastKeys = options.lastKeys ?? Infinity;
  const mixed = scope.carry
    ? cachedAttention(scope, scope.carry, inputs, options.stateName ?? prefix, lastKeys)
    : blockedAttention(scope, inputs, lastKeys);
  const heads = byHead(g.reshape(mixed, [batch, H, time, D]));
  return linear(scope, g.reshape(heads, [batch * time, H * D]), `${prefix}.dense`, config.use_bias);
}
