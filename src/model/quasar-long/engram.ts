/**
 * @file Engram, the n-gram hash memory: rows of hash tables chosen by the last tokens, gated by the residual stream.
 * x ← x + engram_residual_scale·Engram(ids, x). Neither the hash nor the convolution looks at document boundaries, as
 * in the reference.
 */
import type { Tensor } from '../../engine/graph.ts';
import { causalConv } from './causal-conv.ts';
import { engramTables } from './config.ts';
import { linear, type Scope } from './scope.ts';

/** x (rows, hidden) → (rows, hidden). */
export function engram(scope: Scope, x: Tensor, layer: number): Tensor {
  const { g, config, batch, time } = scope;
  const prefix = `model.layers.${layer}.engram`;
  const d = config.engram_dim;
  const bounded = (y: Tensor, bound: number) => g.clamp(y, -bound, bound);
  const project = (y: Tensor, part: string) => bounded(linear(scope, y, `${prefix}.${part}`), 100);
  const e = project(bounded(tableRows(scope, prefix), 10), 'embed_proj');
  const [q, k, v] = [project(x, 'q_proj'), project(e, 'W_K'), project(e, 'W_V')];
  // Unit vectors, with the floor 1e-6 of the norm as a term inside the root.
  const unit = (y: Tensor) => g.rmsNorm(y, null, 1e-12 / d);
  const likeness = g.mul(g.reduceSum(g.mul(unit(q), unit(k)), 1, true), 1 / (d * Math.sqrt(d)));
  const gated = g.mul(v, g.sigmoid(likeness));

  const normal = g.rmsNorm(gated, scope.param(`${prefix}.conv_norm.weight`), 1e-6);
  const mixed = causalConv(scope, g.reshape(normal, [batch, time, d]), scope.param(`${prefix}.conv.weight`), {
    dilation: 3,
    restarts: false,
    stateName: `${prefix}.frames`,
  });
  const y = g.add(g.silu(g.reshape(mixed, [batch * time, d])), gated);
  return g.add(x, g.mul(project(y, 'out_proj'), config.engram_residual_scale));
}

/** (rows, tables·width): the row of each table that the n-gram ending at each token hashes to. */
function tableRows(scope: Scope, prefix: string): Tensor {
  const { g, config, batch, time } = scope;
  const { count, slots, width } = engramTables(config);
  const tokens = canonicalTokens(scope, prefix);
  const seeds = scope.param(`${prefix}.seeds`);
  const heads = config.engram_num_heads;
  const longest = Math.max(...config.engram_ngram_orders);
  const slotsByOrder = config.engram_ngram_orders.map((order, at) => {
    // The tokens that this order needs, of those that the longest one needs.
    const recent = g.slice(tokens, 1, longest - order);
    return g.ngramSlots(recent, g.slice(seeds, 0, at * heads, (at + 1) * heads), order, slots);
  });
  const bases = g.constant(BigInt64Array.from({ length: count }, (_, table) => BigInt(table * slots)));
  const rows = g.reshape(g.add(g.concat(slotsByOrder, 2), bases), [batch * time, count]);
  const table = g.reshape(scope.param(`${prefix}.embed_tables`), [count * slots, width]);
  return g.reshape(g.gather(table, rows), [batch * time, count * width]);
}

/** (batch, longest − 1 + time) i64: token_map[ids] after those of the tokens before; 0 where there are none. */
function canonicalTokens(scope: Scope, prefix: string): Tensor {
  const { g, config, batch, time, carry, inputIds } = scope;
  const longest = Math.max(...config.engram_ngram_orders);
  const fresh = g.gather(scope.param(`${prefix}.token_map`), inputIds); // (batch, time)
  if (longest === 1) return fresh;
  // Carried as f32, which holds ids below 2^24 exactly.
  const stateName = `${prefix}.tokens`;
  const past = carry
    ? g.cast(carry.read(stateName, [batch, longest - 1]), 'i64')
    : g.constant(0, [batch, longest - 1], 'i64');
  const all = g.concat([past, fresh], 1);
  carry?.write(stateName, g.cast(g.slice(all, 1, time), 'f32'));
  return all;
}
