/**
 * @file The raven branch: gated slot attention in which each token writes to its N best slots of M. Per head, slot keys
 * K̃ (d x M) and slot values Ṽ (M x d): K̃ ← K̃ diag(e^f) + k sᵀ; a = softmax(K̃ᵀ q); Ṽ ← diag(e^f) Ṽ + s vᵀ; o = Ṽᵀ a,
 * with log-decays f = λ·w ≤ 0 and write strengths s = 1 − e^f. Slots that a token does not choose neither decay nor
 * change. Head width is hidden/heads, not head_dim; there is no rotation.
 */
import type { Tensor } from '../../engine/graph.ts';
import { chunkMasks, masked } from './packing.ts';
import { chunkMatrix, fromChunks, linear, repeatHeads, type Scope, toChunks } from './scope.ts';

/** Fixed in the reference; not rms_norm_eps. */
const outputEpsilon = 1e-5;

/**
 * Within a chunk decays are factored as e^{c_t − c_ref}·e^{c_ref − c_j} with ref in the chunk's middle. Limiting f to
 * −140/C keeps both factors finite; in chunks of 8 that is −17.5, where e^f is less than float32 can add to 1, so nothing
 * is lost. (Measured: chunks of 8, 16 and 32 take the same time, forward and back, at 256 tokens.)
 */
const logRange = 140;
const maxChunk = 8;

/** x (rows, hidden) → (rows, hidden). */
export function ravenBranch(outer: Scope, x: Tensor, prefix: string): Tensor {
  const scope = { ...outer, chunk: Math.min(outer.chunk, maxChunk) };
  const { g, config, batch, time } = scope;
  const { hidden_size: h, num_attention_heads: H, num_key_value_heads: KV, rms_norm_eps } = config;
  const d = h / H;
  const project = (part: string, heads: number) =>
    g.reshape(g.silu(linear(scope, x, `${prefix}.${part}_proj`)), [batch, time, heads, d]);
  const q = g.rmsNorm(project('q', H), scope.param(`${prefix}.q_norm.weight`), rms_norm_eps);
  const k = g.rmsNorm(project('k', KV), scope.param(`${prefix}.k_norm.weight`), rms_norm_eps);
  const keyValue = repeatHeads(scope, g.concat([k, project('v', KV)], 3), H);
  const logDecay = slotLogDecays(scope, x, prefix);
  const o = slotAttention(
    scope,
    { q: toChunks(scope, q), keyValue: toChunks(scope, keyValue), logDecay: toChunks(scope, logDecay) },
    prefix,
  );
  const heads = g.reshape(fromChunks(scope, o, H), [batch * time, h]);
  const normal = g.rmsNorm(g.silu(heads), scope.param(`${prefix}.g_norm.weight`), outputEpsilon);
  return linear(scope, normal, `${prefix}.o_proj`);
}

/** f (batch, time, H, M): λ spread over the N best slots in proportion to σ(r_proj x). */
function slotLogDecays(scope: Scope, x: Tensor, prefix: string): Tensor {
  const { g, config, batch, time, chunk } = scope;
  const { num_attention_heads: H, hybrid_raven_slots: M, hybrid_raven_topk: N } = config;
  const logits = g.reshape(linear(scope, x, `${prefix}.r_proj`), [batch, time, H, M]);
  let share = g.sigmoid(logits);
  if (N < M) {
    // By logits, as the sigmoid saturates; by place, not by value, so that equal logits do not make it more than N.
    const { indices } = g.topK(g.stopGradient(logits), N, { sorted: false });
    const none = g.constant(0, logits.shape);
    share = g.mul(share, g.scatterElements(none, indices, g.constant(1, indices.shape), 3));
  }
  const rate = g.softplus(g.add(linear(scope, x, `${prefix}.a_proj`), scope.param(`${prefix}.dt_bias`)));
  const lambda = g.mul(rate, g.neg(g.exp(scope.param(`${prefix}.A_log`)))); // (rows, H)
  const unit = g.div(g.reshape(lambda, [batch, time, H, 1]), g.add(g.reduceSum(share, 3, true), 1e-9));
  return g.clamp(g.mul(share, unit), -logRange / chunk, 0);
}

interface SlotInputs {
  /** (batch·heads, chunks, chunk, d). */
  readonly q: Tensor;
  /** (batch·heads, chunks, chunk, 2d): keys, then values. */
  readonly keyValue: Tensor;
  /** f (batch·heads, chunks, chunk, M). */
  readonly logDecay: Tensor;
}

/** o in the shape of q. Both states are kept as one (2d x M) matrix: K̃ above Ṽᵀ. */
function slotAttention(scope: Scope, { q, keyValue, logDecay: f }: SlotInputs, prefix: string): Tensor {
  const { g, config, batch, chunk: C, carry } = scope;
  const { num_attention_heads: H, hybrid_raven_slots: M } = config;
  const d = config.hidden_size / H;
  const middle = Math.floor(C / 2);
  const masks = chunkMasks(scope, H);
  const lower = g.constant(
    Uint8Array.from({ length: C * C }, (_, i) => (i % C <= Math.floor(i / C) ? 1 : 0)),
    [C, C],
  );
  const visible = masks === null ? lower : g.and(g.greater(masks.same, 0.5), lower);

  // c_t − c_ref for every token, as one product with a constant matrix; then c_ref and c_end − c_ref.
  const relative = g.matmul(
    chunkMatrix(scope, (t, j) => Number(j <= t) - Number(j < middle)),
    f,
  );
  const row = (g0: (j: number) => number) =>
    g.constant(
      Float32Array.from({ length: C }, (_, j) => g0(j)),
      [1, C],
    );
  const toMiddle = g.exp(
    g.matmul(
      row((j) => Number(j < middle)),
      f,
    ),
  ); // (batch·heads, chunks, 1, M)
  const toEnd = g.exp(
    g.matmul(
      row((j) => Number(j >= middle)),
      f,
    ),
  );
  const grow = g.exp(relative);
  const write = g.mul(writeStrength(scope, f), g.exp(g.neg(relative)));

  // Factors of a slot go to the tokens' side of a product: a chunk has fewer tokens than a state has rows.
  const { states, final } = g.diagonalStateScan(
    masked(g, g.mul(toMiddle, toEnd), masks?.keepsState),
    g.matmul(keyValue, masked(g, g.mul(write, toEnd), masks?.reachesState), { transA: true }),
    { initial: carry?.read(`${prefix}.state`, [batch * H, 2 * d, M]) },
  );
  carry?.write(`${prefix}.state`, final);
  const [keys, values] = g.split(keyValue, 3, 2);
  const [slotKeys, slotValues] = g.split(states, 2, 2); // each (batch·heads, chunks, d, M)

  const fromState = masked(g, g.mul(g.matmul(q, slotKeys!), toMiddle), masks?.seesState);
  const pairs = g.where(visible, g.matmul(q, keys!, { transB: true }), 0);
  const shares = g.mul(g.softmax(g.mul(grow, g.add(fromState, g.matmul(pairs, write)))), grow);
  // Where, not a product with 0: above the diagonal the factored exponentials may overflow, and inf·0 is NaN.
  const read = g.where(visible, g.matmul(shares, write, { transB: true }), 0);
  const old = masked(g, g.matmul(g.mul(shares, toMiddle), slotValues!, { transB: true }), masks?.seesState);
  return g.add(old, g.matmul(read, values!));
}

/** s = 1 − e^f as −tanh(f/2)(1 + e^f), which does not cancel at small f. */
function writeStrength({ g }: Scope, f: Tensor): Tensor {
  return g.mul(g.neg(g.tanh(g.mul(f, 0.5))), g.add(g.exp(f), 1));
}
