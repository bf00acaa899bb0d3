/** @file Config variants, as changes of preset `tiny`, that tests go through. */

const engramSmall = { engram_dim: 24, engram_slots: 300, engram_num_heads: 2, engram_residual_scale: 0.5 };
/** Together they take every branch of the specification that the presets leave out. */
export const variants: readonly (readonly [name: string, overrides: Readonly<Record<string, unknown>>])[] = [
  ['biases, no query-key norm', { use_qkv_bias: true, use_bias: true, use_qk_norm: false }],
  ['two shared experts, one expert per token', { num_shared_experts: 2, num_experts_per_tok: 1 }],
  ['no shared expert, no groups', { num_shared_experts: 0, n_group: 1, topk_group: 1 }],
  ['heads wider than hidden/heads, one key-value head each', { head_dim: 24, num_key_value_heads: 2 }],
  ['nothing rotated, one group of the gla norm', { long_context_mode: 'nope', hybrid_gla_group_norm_size: 1 }],
  ['everything rotated, all raven slots', { use_nope: false, partial_rotary_factor: 1, hybrid_raven_topk: 16 }],
  [
    'no adapter, no padding token, all layers dense',
    { hybrid_output_adapter_rank: 0, pad_token_id: null, first_k_dense_replace: 4 },
  ],
  ['two loops', { num_loops: 2, use_looped_injection: true, use_parcae_loop_stabilizer: true }],
  ['engram in two layers, with loops', { num_loops: 2, engram_layers: [0, 2], ...engramSmall }],
  ['engram of single tokens and of four', { engram_layers: [3], engram_ngram_orders: [1, 4], ...engramSmall }],
  ['tied embeddings, two MTP layers', { tie_word_embeddings: true, ...mtp(2), rms_norm_eps: 1e-5 }],
  ['mixed layout, gla in one layer', { hybrid_branch_layout: 'mixed', hybrid_gla_layers: [2] }],
  ['replaced softmax attention', { hybrid_replacement_mode: 'full', use_bias: true }],
  [
    'local window, in replacement too',
    { hybrid_local_window_size: 5, hybrid_local_window_layers: [1, 3], hybrid_replacement_mode: 'linear' },
  ],
  ['one head', { num_attention_heads: 1, num_key_value_heads: 1, hybrid_gla_group_norm_size: 1 }],
  ['a stabiliser without loops', { use_looped_injection: true, use_parcae_loop_stabilizer: true }],
  ['replaced softmax attention, gated out', { hybrid_replacement_mode: 'replace', hybrid_alpha_zero_bypass: true }],
  ['local window in every hybrid layer', { hybrid_local_window_size: 33, hybrid_local_window_max_fraction: 1 }],
  [
    'decaying quasar branch, convolved and rotated',
    { hybrid_quasar_mode: 'fused_recurrent', hybrid_quasar_use_rope: true, hybrid_use_short_conv: true },
  ],
];

function mtp(layers: number) {
  return { num_nextn_predict_layers: layers, mtp_loss_scaling_factor: 0.3 };
}
