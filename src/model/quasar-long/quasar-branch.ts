/**
 * @file The quasar branch: the delta rule with a gated write. Per head, state S (D x D): S ← diag(δ_t) S;
 * e_t = v_t − Sᵀk_t; S ← S + α_t k_t e_tᵀ; o_t = D^{−1/2} Sᵀ q_t; δ = 1 in mode "chunk". Computed in chunks:
 * R = (I + A strictlower(K Kᵀ))^{−1} A (V − K S), O = D^{−1/2}(Q S + lower(Q Kᵀ) R), S ← S + KᵀR, A = diag(α). With
 * decays, c the inclusive cumulative log δ of the chunk, every product of tokens t and j is weighed by e^{c_t − c_j}.
 * The reference's NaN → 0 at the input is left out: a NaN there is a fault to see, not to hide.
 */
import type { Tensor } from '../../engine/graph.ts';
import { causalConv } from './causal-conv.ts';
import { chunkMasks, masked } from './packing.ts';
import { rotate } from './rope.ts';
import { chunking, chunkMatrix, fromChunks, linear, type Scope, toChunks } from './scope.ts';

/** With decays every token keeps chunk x headDim numbers: short chunks then. */
const maxDecayingChunk = 16;

/** x (rows, hidden) → (rows, hidden). */
export function quasarBranch(outer: Scope, x: Tensor, prefix: string): Tensor {
  const { g, config, batch, time } = outer;
  const { num_attention_heads: H, head_dim: D } = config;
  const isDecaying = config.hybrid_quasar_mode === 'fused_recurrent';
  const scope = isDecaying ? { ...outer, chunk: Math.min(outer.chunk, maxDecayingChunk) } : outer;
  // Every projection of the branch, gates included, reads this normalised input.
  const u = g.rmsNorm(g.clamp(x, -60, 60), null, 1e-6);
  const project = (part: string) => {
    const flat = linear(scope, u, `${prefix}.${part}_proj`);
    return g.reshape(g.silu(shortConv(scope, flat, `${prefix}.${part}_conv1d`)), [batch, time, H, D]);
  };
  const direction = (part: string) => {
    const y = project(part);
    return toChunks(scope, unitVectors(scope, config.hybrid_quasar_use_rope ? rotate(g, scope.rotation, y) : y));
  };
  const inputs = {
    q: direction('q'),
    k: direction('k'),
    v: toChunks(scope, project('v')),
    alpha: toChunks(scope, (isDecaying ? recurrentWriteStrength : writeStrength)(scope, u, prefix)),
  };
  const read = isDecaying
    ? decayingDeltaRule(scope, { ...inputs, logDecay: toChunks(scope, logDecays(scope, u, prefix)) }, prefix)
    : deltaRule(scope, inputs, prefix);
  const o = fromChunks(scope, read, H); // (batch, time, H, D)

  const weight = g.clamp(scope.param(`${prefix}.o_norm.weight`), 0, 4);
  const normal = g.rmsNorm(g.clamp(o, -1e4, 1e4), weight, config.rms_norm_eps);
  const gate = linear(scope, linear(scope, u, `${prefix}.g_proj.0`), `${prefix}.g_proj.1`, true);
  const gated = g.mul(g.reshape(normal, [batch * time, H * D]), g.sigmoid(g.clamp(gate, -30, 30)));
  return linear(scope, gated, `${prefix}.o_proj`);
}

/** A convolution of each channel over its last four tokens, within a document; x (rows, heads·headDim). */
function shortConv(scope: Scope, x: Tensor, prefix: string): Tensor {
  const { g, config, batch, time } = scope;
  if (!config.hybrid_use_short_conv) return x;
  const width = x.shape[1]!;
  const mixed = causalConv(scope, g.reshape(x, [batch, time, width]), scope.param(`${prefix}.weight`), {
    dilation: 1,
    restarts: true,
    stateName: `${prefix}.frames`,
  });
  return g.reshape(mixed, [batch * time, width]);
}

/** x/‖x‖ over the last axis; a zero vector stays zero (floor 1e-12, as a term inside the root). */
function unitVectors({ g, config: { head_dim: D } }: Scope, x: Tensor): Tensor {
  return g.mul(g.rmsNorm(x, null, 1e-24 / D), 1 / Math.sqrt(D));
}

/**
 * α (batch, time, H, 1) = clamp(mean_d[1 − exp(−γ_d)]/(n + 1e-6), 1e-4, 0.95), γ_d = e^{A_log}·softplus(β + dt_bias_d),
 * β = σ(b_proj u). n = clamp(‖k‖², 0.1, 10) is 1, as k is a unit vector (or zero, and then nothing is written).
 */
function writeStrength(scope: Scope, u: Tensor, prefix: string): Tensor {
  const { g, config, batch, time } = scope;
  const { num_attention_heads: H, head_dim: D } = config;
  const beta = g.reshape(g.sigmoid(linear(scope, u, `${prefix}.b_proj`)), [batch, time, H, 1]);
  const bias = g.reshape(scope.param(`${prefix}.dt_bias`), [H, D]);
  const rate = g.neg(g.exp(g.reshape(scope.param(`${prefix}.A_log`), [H, 1])));
  const kept = g.exp(g.mul(g.softplus(g.add(beta, bias)), rate)); // e^{−γ}, (batch, time, H, D)
  const written = g.sub(1, g.reduceMean(kept, 3, true));
  return g.clamp(g.mul(written, 1 / (1 + 1e-6)), 1e-4, 0.95);
}

/** Mode "fused_recurrent": α (batch, time, H, 1) = (1 − e^{−βn})/(n + 1e-8), n = max(‖k‖², 0.05) = 1 for unit vectors. */
function recurrentWriteStrength(scope: Scope, u: Tensor, prefix: string): Tensor {
  const { g, config, batch, time } = scope;
  const beta = g.sigmoid(linear(scope, u, `${prefix}.b_proj`));
  const written = g.mul(g.sub(1, g.exp(g.neg(beta))), 1 / (1 + 1e-8));
  return g.reshape(written, [batch, time, config.num_attention_heads, 1]);
}

/** log δ (batch, time, H, D) = −e^{A_log}·softplus((f_proj u)_d + dt_bias_d) for each key channel. */
function logDecays(scope: Scope, u: Tensor, prefix: string): Tensor {
  const { g, config, batch, time } = scope;
  const { num_attention_heads: H, head_dim: D } = config;
  const rate = g.neg(g.exp(g.reshape(scope.param(`${prefix}.A_log`), [H, 1])));
  const raw = g.add(linear(scope, u, `${prefix}.f_proj`), scope.param(`${prefix}.dt_bias`));
  return g.mul(g.reshape(g.softplus(raw), [batch, time, H, D]), rate);
}

interface DeltaInputs {
  /** (batch·heads, chunks, chunk, headDim); q and k are unit vectors. */
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  /** (batch·heads, chunks, chunk, 1). */
  readonly alpha: Tensor;
}

/** o in the shape of q. */
function deltaRule(scope: Scope, { q, k, v, alpha }: DeltaInputs, prefix: string): Tensor {
  const { g, config, batch, carry } = scope;
  const { num_attention_heads: H, head_dim: D } = config;
  const masks = chunkMasks(scope, H);
  const likeness = masked(g, g.matmul(k, k, { transB: true }), masks?.same);
  const inverse = g.unitLowerTriangularInverse(g.mul(likeness, alpha));
  const solve = g.mul(inverse, g.transpose(alpha, [0, 1, 3, 2])); // (I + L)^{−1} A
  const U = g.matmul(solve, v);
  const W = g.matmul(solve, masked(g, k, masks?.seesState));
  const initial = carry?.read(`${prefix}.state`, [batch * H, D, D]);
  const { states, residuals, final } = g.deltaStateScan(U, W, masked(g, k, masks?.reachesState), {
    initial,
    keep: masks?.keepsState,
  });
  carry?.write(`${prefix}.state`, final);

  const lower = chunkMatrix(scope, (row, column) => (column <= row ? 1 : 0));
  const scale = 1 / Math.sqrt(D);
  const within = g.mul(masked(g, g.matmul(q, k, { transB: true, alpha: scale }), masks?.same), lower);
  const fromState = g.matmul(masked(g, q, masks?.seesState), states, { alpha: scale });
  return g.add(fromState, g.matmul(within, residuals));
}

/**
 * As `deltaRule`, with `logDecay` (batch·heads, chunks, chunk, headDim) ≤ 0 for each key channel. Weights of pairs are
 * computed from differences c_t − c_j, which never overflow, so any decay is exact; that costs chunk x headDim numbers a token.
 */
function decayingDeltaRule(
  scope: Scope,
  { q, k, v, alpha, logDecay }: DeltaInputs & { readonly logDecay: Tensor },
  prefix: string,
): Tensor {
  const { g, config, batch, chunk: C, carry } = scope;
  const { num_attention_heads: H, head_dim: D } = config;
  const { chunks: N } = chunking(scope);
  const masks = chunkMasks(scope, H);
  const c = g.matmul(
    chunkMatrix(scope, (t, j) => (j <= t ? 1 : 0)),
    logDecay,
  );
  const last = g.slice(c, 2, C - 1);
  const [byRow, byColumn] = [g.reshape(c, [batch * H, N, C, 1, D]), g.reshape(c, [batch * H, N, 1, C, D])];
  // Above the diagonal, where nothing is read, the difference is positive.
  const weight = g.exp(g.minimum(g.sub(byRow, byColumn), 0)); // (batch·heads, chunks, t, j, headDim)
  const pairs = (rows: Tensor): Tensor => {
    const wide = g.mul(g.reshape(rows, [batch * H, N, C, 1, D]), weight);
    return masked(g, g.reduceSum(g.mul(wide, g.reshape(k, [batch * H, N, 1, C, D])), 4), masks?.same);
  };
  const fromStart = g.exp(c);
  const inverse = g.unitLowerTriangularInverse(g.mul(pairs(k), alpha));
  const solve = g.mul(inverse, g.transpose(alpha, [0, 1, 3, 2]));
  const W = g.matmul(solve, masked(g, g.mul(k, fromStart), masks?.seesState));
  const toEnd = masked(g, g.mul(k, g.exp(g.sub(last, c))), masks?.reachesState);
  const { states, residuals, final } = decayingStateScan(scope, {
    U: g.matmul(solve, v),
    W,
    K: toEnd,
    decay: masked(g, g.exp(last), masks?.keepsState),
    initial: carry?.read(`${prefix}.state`, [batch * H, D, D]),
  });
  carry?.write(`${prefix}.state`, final);

  const lower = chunkMatrix(scope, (row, column) => (column <= row ? 1 : 0));
  const within = g.matmul(g.mul(pairs(q), lower), residuals);
  return g.mul(g.add(g.matmul(masked(g, g.mul(q, fromStart), masks?.seesState), states), within), 1 / Math.sqrt(D));
}

/**
 * R = U − W S; S' = diag(decay) S + KᵀR, decay (batch·heads, chunks, 1, headDim). The scan itself keeps a state whole or
 * not at all; decays enter as headDim more rows: W with −I below gives S below R, and K with diag(decay) puts it back.
 */
function decayingStateScan(
  { g }: Scope,
  inputs: {
    readonly U: Tensor;
    readonly W: Tensor;
    readonly K: Tensor;
    readonly decay: Tensor;
    readonly initial: Tensor | undefined;
  },
): { readonly states: Tensor; readonly residuals: Tensor; readonly final: Tensor } {
  const { U, W, K, decay, initial } = inputs;
  const [B, N, C, D] = W.shape as [number, number, number, number];
  const identity = g.constant(
    Float32Array.from({ length: D * D }, (_, i) => (Math.floor(i / D) === i % D ? 1 : 0)),
    [D, D],
  );
  const below = (x: Tensor, rows: Tensor) => g.concat([x, g.expand(rows, [B, N, D, D])], 2);
  const { states, residuals, final } = g.deltaStateScan(
    below(U, g.constant(0, [D, D])),
    below(W, g.neg(identity)),
    below(K, g.mul(identity, decay)),
    { initial, keep: g.constant(0, [1, N, 1, 1]) },
  );
  return { states, residuals: g.slice(residuals, 2, 0, C), final };
}
