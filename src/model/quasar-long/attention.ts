/** @file Grouped-query softmax attention with query-key norm and partial rotary embedding; causal, within documents. */
import type { Tensor } from '../../engine/graph.ts';
import { attentionBias } from './packing.ts';
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

/** x (rows, hidden) → (rows, hidden). */
export function attention(scope: Scope, x: Tensor, prefix: string): Tensor {
  const { g, config, batch, time } = scope;
  const { num_attention_heads: H, num_key_value_heads: KV, head_dim: D } = config;
  const { q, k, v } = projectHeads(scope, x, prefix);
  const byHead = (y: Tensor) => g.transpose(y, [0, 2, 1, 3]);
  const [keys, values] = [withPast(scope, byHead(k), `${prefix}.keys`), withPast(scope, byHead(v), `${prefix}.values`)];
  const keyCount = keys.shape[2]!;
  // The G query heads of a key-value head are consecutive: one product serves them all.
  const queries = g.reshape(byHead(q), [batch, KV, (H / KV) * time, D]);
  const scores = g.matmul(queries, keys, { transB: true, alpha: 1 / Math.sqrt(D) });
  const grouped = g.reshape(scores, [batch, KV, H / KV, time, keyCount]);
  const shares = g.softmax(g.add(grouped, scope.carry ? pastBias(scope, keys) : attentionBias(scope)));
  const mixed = g.matmul(g.reshape(shares, [batch, KV, (H / KV) * time, keyCount]), values);
  const heads = byHead(g.reshape(mixed, [batch, H, time, D]));
  return linear(scope, g.reshape(heads, [batch * time, H * D]), `${prefix}.dense`, config.use_bias);
}

/** Keys or values (batch, kvHeads, time, headDim) after those of earlier runs. */
function withPast(scope: Scope, fresh: Tensor, name: string): Tensor {
  if (scope.carry === null) return fresh;
  const past = scope.carry.read(name, fresh.shape.with(2, 'past'));
  const all = scope.g.concat([past, fresh], 2);
  scope.carry.write(name, all);
  return all;
}

/** (batch, 1, 1, time, past + time): a query at position p sees the first p + 1 keys. */
function pastBias(scope: Scope, keys: Tensor): Tensor {
  const { g, batch, time } = scope;
  const keyCount = keys.shape[2]!;
  const index = g.range(g.sizeOf(keyCount), String(keyCount));
  const position = g.reshape(scope.positions, [batch, 1, 1, time, 1]);
  return g.where(g.lessEqual(index, position), 0, g.constant(-1e30));
}
