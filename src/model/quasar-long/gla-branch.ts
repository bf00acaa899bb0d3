/**
 * @file The gla branch: linear attention with one fixed decay per head. State S (D x D) per head:
 * S ← e^{g} S + k_t v_tᵀ; o_t = D^{−1/2} Sᵀ q_t. The decays are constants, so the chunk form needs no exponential.
 */
import type { Tensor } from '../../engine/graph.ts';
import { projectHeads } from './attention.ts';
import { glaLogDecays } from './init.ts';
import { chunkMasks, masked } from './packing.ts';
import { chunking, fromChunks, linear, repeatHeads, type Scope, toChunks } from './scope.ts';

/** x (rows, hidden) → (rows, hidden). */
export function glaBranch(scope: Scope, x: Tensor, prefix: string, layer: number): Tensor {
  const { g, config, batch, time } = scope;
  const { num_attention_heads: H, head_dim: D } = config;
  const projected = projectHeads(scope, x, prefix);
  const q = toChunks(scope, projected.q);
  const k = toChunks(scope, repeatHeads(scope, projected.k, H));
  const v = toChunks(scope, repeatHeads(scope, projected.v, H));
  const o = fromChunks(scope, decayedAttention(scope, { q, k, v }, prefix, layer), H);

  const groups = config.hybrid_gla_group_norm_size ?? H;
  const grouped = g.reshape(o, [batch * time, groups, (H * D) / groups]);
  const normal = g.reshape(g.rmsNorm(grouped, null, config.rms_norm_eps), [batch * time, H * D]);
  const gate = g.sigmoid(linear(scope, x, `${prefix}.g_proj`));
  const gated = g.mul(g.mul(normal, scope.param(`${prefix}.g_norm.weight`)), gate);
  return linear(scope, gated, `${prefix}.dense`, config.use_bias);
}

/** q, k, v and the result: (batch·heads, chunks, chunk, headDim). */
function decayedAttention(
  scope: Scope,
  { q, k, v }: { readonly q: Tensor; readonly k: Tensor; readonly v: Tensor },
  prefix: string,
  layer: number,
): Tensor {
  const { g, config, batch, chunk: C, carry } = scope;
  const { num_attention_heads: H, head_dim: D } = config;
  const { chunks: N } = chunking(scope);
  const masks = chunkMasks(scope, H);
  const logDecays = glaLogDecays(config, layer);
  // (batch·heads, 1, rows, columns): e^{g·exponent} in every head, 0 where the exponent is null.
  const decay = (rows: number, columns: number, exponent: (row: number, column: number) => number | null): Tensor => {
    const values = new Float32Array(batch * H * rows * columns);
    for (let i = 0; i < values.length; i++) {
      const power = exponent(Math.floor(i / columns) % rows, i % columns);
      values[i] = power === null ? 0 : Math.exp(logDecays[Math.floor(i / (rows * columns)) % H]! * power);
    }
    return g.constant(values, [batch * H, 1, rows, columns]);
  };
  const scale = 1 / Math.sqrt(D);
  const pairs = g.mul(
    masked(g, g.matmul(q, k, { transB: true, alpha: scale }), masks?.same),
    decay(C, C, (t, j) => (j <= t ? t - j : null)),
  );
  const within = g.matmul(pairs, v);
  if (N === 1 && carry === null) return within;

  const toEnd = g.mul(
    masked(g, k, masks?.reachesState),
    decay(C, 1, (j) => C - 1 - j),
  );
  const { states, final } = g.diagonalStateScan(
    masked(
      g,
      g.expand(
        decay(1, 1, () => C),
        [batch * H, N, 1, 1],
      ),
      masks?.keepsState,
    ),
    g.matmul(toEnd, v, { transA: true }),
    { initial: carry?.read(`${prefix}.state`, [batch * H, D, D]) },
  );
  carry?.write(`${prefix}.state`, final);
  const fromStart = g.mul(
    masked(g, q, masks?.seesState),
    decay(C, 1, (t) => t + 1),
  );
  return g.add(g.matmul(fromStart, states, { alpha: scale }), within);
}
