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
  // The G query heads of a key-value head are consecutive: one product serves them all.
  const queries = g.reshape(byHead(q), [batch, KV, H / KV, time, D]);
  const bias = scope.carry ? pastBias(scope, keys) : attentionBias(scope);
  const mixed = scope.carry
    ? attend(scope, queries, keys, values, bias)
    : attendInBlocks(scope, queries, keys, values, bias);
  const heads = byHead(g.reshape(mixed, [batch, H, time, D]));
  return linear(scope, g.reshape(heads, [batch * time, H * D]), `${prefix}.dense`, config.use_bias);
}

/** queries (batch, kvHeads, G, t, D), keys and values (batch, kvHeads, n, D), bias (1 or batch, 1, 1, t, n) or (t, n). */
function attend({ g }: Scope, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor): Tensor {
  const [batch, KV, G, t, D] = queries.shape as [number, number, number, number, number];
  const flat = g.reshape(queries, [batch, KV, G * t, D]);
  const scores = g.matmul(flat, keys, { transB: true, alpha: 1 / Math.sqrt(D) });
  const keyCount = keys.shape[2]!;
  const shares = g.softmax(g.add(g.reshape(scores, [batch, KV, G, t, keyCount]), bias));
  return g.reshape(g.matmul(g.reshape(shares, [batch, KV, G * t, keyCount]), values), queries.shape);
}

/** Fewer queries in a block: more blocks, whose products are then too small to be fast. */
const minBlock = 64;

/** The same for queries and keys of the same tokens: a block of queries skips the keys that lie after all of it. */
function attendInBlocks(scope: Scope, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor): Tensor {
  const { g, time } = scope;
  const count = [4, 3, 2].find((n) => time % n === 0 && time / n >= minBlock) ?? 1;
  const size = time / count;
  const blocks = g.split(queries, 3, count).map((block, i) => {
    const end = (i + 1) * size;
    const seen = g.slice(g.slice(bias, -2, i * size, end), -1, 0, end);
    return attend(scope, block, g.slice(keys, 2, 0, end), g.slice(values, 2, 0, end), seen);
  });
  return g.concat(blocks, 3);
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
