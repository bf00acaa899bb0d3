/**
 * @file The quasar branch, mode "chunk": the delta rule with a gated write and no decay. Per head, state S (D x D):
 * e_t = v_t − Sᵀk_t; S ← S + α_t k_t e_tᵀ; o_t = D^{−1/2} Sᵀ q_t. Computed in chunks:
 * R = (I + A strictlower(K Kᵀ))^{−1} A (V − K S), O = D^{−1/2}(Q S + lower(Q Kᵀ) R), S ← S + KᵀR, A = diag(α).
 * The reference's NaN → 0 at the input is left out: a NaN there is a fault to see, not to hide.
 */
import type { Tensor } from '../../engine/graph.ts';
import { chunkMasks, masked } from './packing.ts';
import { chunkMatrix, fromChunks, linear, type Scope, toChunks } from './scope.ts';

/** x (rows, hidden) → (rows, hidden). */
export function quasarBranch(scope: Scope, x: Tensor, prefix: string): Tensor {
  const { g, config, batch, time } = scope;
  const { num_attention_heads: H, head_dim: D } = config;
  // Every projection of the branch, gates included, reads this normalised input.
  const u = g.rmsNorm(g.clamp(x, -60, 60), null, 1e-6);
  const project = (part: string) => g.reshape(g.silu(linear(scope, u, `${prefix}.${part}_proj`)), [batch, time, H, D]);
  const q = toChunks(scope, unitVectors(scope, project('q')));
  const k = toChunks(scope, unitVectors(scope, project('k')));
  const v = toChunks(scope, project('v'));
  const alpha = toChunks(scope, writeStrength(scope, u, prefix));
  const o = fromChunks(scope, deltaRule(scope, { q, k, v, alpha }, prefix), H); // (batch, time, H, D)

  const weight = g.clamp(scope.param(`${prefix}.o_norm.weight`), 0, 4);
  const normal = g.rmsNorm(g.clamp(o, -1e4, 1e4), weight, config.rms_norm_eps);
  const gate = linear(scope, linear(scope, u, `${prefix}.g_proj.0`), `${prefix}.g_proj.1`, true);
  const gated = g.mul(g.reshape(normal, [batch * time, H * D]), g.sigmoid(g.clamp(gate, -30, 30)));
  return linear(scope, gated, `${prefix}.o_proj`);
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
