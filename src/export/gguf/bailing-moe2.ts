/**
 * @file `quasar_long` without hybrid layers as llama.cpp's architecture `bailingmoe2` (Ling 2): the same network under
 * other names. What that architecture lacks is refused by the name of the config's field; nothing is approximated.
 * MTP layers, which no token's logits depend on, are left out.
 */
import { isMoeLayer, type QuasarLongConfig, rotaryWidth } from '../../model/quasar-long/config.ts';
import { ExportError } from '../errors.ts';
import { copied, type TensorPlan, transposed } from '../tensor-plan.ts';
import type { GgufArchitecture } from './architecture.ts';
import type { GgufValue } from './container.ts';

type Field = keyof QuasarLongConfig;

const ropeEverywhere = 'every position is rotated there';

/** What must hold, and why. */
const rules: readonly (readonly [field: Field, holds: (c: QuasarLongConfig) => boolean, why: string])[] = [
  ['hybrid_attention_layers', (c) => c.hybrid_attention_layers.length === 0, 'it has no linear branches'],
  ['engram_layers', (c) => c.engram_layers.length === 0, 'it has no Engram'],
  ['num_loops', (c) => c.num_loops === 1, 'it runs its layers once'],
  ['use_looped_injection', (c) => !c.use_looped_injection, 'it has no loops'],
  ['use_parcae_loop_stabilizer', (c) => !c.use_parcae_loop_stabilizer, 'it has no loops'],
  ['long_context_mode', (c) => !c.use_nope || c.long_context_mode === 'rope_short_nope_long', ropeEverywhere],
  ['partial_rotary_factor', (c) => rotaryWidth(c) > 0, ropeEverywhere],
  ['use_qk_norm', (c) => c.use_qk_norm, 'it always normalises queries and keys'],
  ['use_qkv_bias', (c) => !c.use_qkv_bias, 'its attention has no biases'],
  ['use_bias', (c) => !c.use_bias, 'its attention has no biases'],
  ['head_dim', (c) => c.num_attention_heads * c.head_dim === c.hidden_size, 'heads x head_dim is hidden_size there'],
  ['first_k_dense_replace', (c) => c.first_k_dense_replace < c.num_hidden_layers, 'it needs a layer with experts'],
  ['num_shared_experts', (c) => c.num_shared_experts > 0, 'it always has a shared expert'],
  ['n_group', (c) => !hasGroups(c) || c.n_group < c.num_experts, 'its groups have two experts at least'],
];

/** Groups of which all are kept choose nothing, and llama.cpp refuses them. */
const hasGroups = (c: QuasarLongConfig): boolean => c.topk_group < c.n_group;

function check(config: QuasarLongConfig, contextLength: number): void {
  for (const [field, holds, why] of rules)
    if (!holds(config))
      refuse(field, `${JSON.stringify(config[field])} cannot be said in architecture bailingmoe2: ${why}`);
  if (config.use_nope && contextLength > config.nope_after_position)
    refuse(
      'nope_after_position',
      `positions from ${config.nope_after_position} on are not rotated, but architecture bailingmoe2 rotates all ` +
        `${contextLength} of the context; ask for a context of at most ${config.nope_after_position}`,
    );
}

function refuse(field: Field, why: string): never {
  throw new ExportError('UNREPRESENTABLE', `${field}: ${why}`, { context: { field } });
}

/** llama.cpp's enumeration llama_expert_gating_func_type. */
const sigmoidGating = 2;

function metadata(c: QuasarLongConfig, contextLength: number): ReadonlyMap<string, GgufValue> {
  const u32 = (value: number): GgufValue => ({ u32: value });
  return new Map<string, GgufValue>([
    ['block_count', u32(c.num_hidden_layers)],
    ['context_length', u32(contextLength)],
    ['embedding_length', u32(c.hidden_size)],
    ['feed_forward_length', u32(c.intermediate_size)],
    ['attention.head_count', u32(c.num_attention_heads)],
    ['attention.head_count_kv', u32(c.num_key_value_heads)],
    ['attention.key_length', u32(c.head_dim)],
    ['attention.value_length', u32(c.head_dim)],
    ['attention.layer_norm_rms_epsilon', { f32: c.rms_norm_eps }],
    ['rope.dimension_count', u32(rotaryWidth(c))],
    ['rope.freq_base', { f32: c.rope_theta }],
    ['leading_dense_block_count', u32(c.first_k_dense_replace)],
    ['expert_count', u32(c.num_experts)],
    ['expert_used_count', u32(c.num_experts_per_tok)],
    ['expert_shared_count', u32(c.num_shared_experts)],
    ['expert_feed_forward_length', u32(c.moe_intermediate_size)],
    ['expert_shared_feed_forward_length', u32(c.moe_intermediate_size)],
    ['expert_weights_scale', { f32: c.routed_scaling_factor }],
    // The weight of a single expert is its score.
    ['expert_weights_norm', { bool: c.num_experts_per_tok > 1 }],
    ['expert_gating_func', u32(sigmoidGating)],
    ...(hasGroups(c)
      ? ([
          ['expert_group_count', u32(c.n_group)],
          ['expert_group_used_count', u32(c.topk_group)],
        ] as const)
      : []),
    ['nextn_predict_layers', u32(0)],
    ['vocab_size', u32(c.vocab_size)],
  ]);
}

function tensors(config: QuasarLongConfig): readonly TensorPlan[] {
  const { vocab_size: V, hidden_size: h, num_hidden_layers: L } = config;
  const table = 'model.word_embeddings.weight';
  return [
    copied('token_embd.weight', [V, h], table),
    ...Array.from({ length: L }, (_, layer) => layerTensors(config, layer)).flat(),
    copied('output_norm.weight', [h], 'model.norm.weight'),
    copied('output.weight', [V, h], config.tie_word_embeddings ? table : 'lm_head.weight'),
  ];
}

function layerTensors(config: QuasarLongConfig, layer: number): readonly TensorPlan[] {
  const { hidden_size: h, num_attention_heads: H, num_key_value_heads: KV, head_dim: D } = config;
  const [to, from] = [`blk.${layer}`, `model.layers.${layer}`];
  return [
    copied(`${to}.attn_norm.weight`, [h], `${from}.input_layernorm.weight`),
    copied(`${to}.attn_qkv.weight`, [(H + 2 * KV) * D, h], `${from}.attention.query_key_value.weight`),
    copied(`${to}.attn_q_norm.weight`, [D], `${from}.attention.query_layernorm.weight`),
    copied(`${to}.attn_k_norm.weight`, [D], `${from}.attention.key_layernorm.weight`),
    copied(`${to}.attn_output.weight`, [h, H * D], `${from}.attention.dense.weight`),
    copied(`${to}.ffn_norm.weight`, [h], `${from}.post_attention_layernorm.weight`),
    ...(isMoeLayer(config, layer)
      ? expertTensors(config, to, `${from}.mlp`)
      : mlpTensors(to, '', `${from}.mlp`, h, config.intermediate_size)),
  ];
}

function mlpTensors(to: string, suffix: string, from: string, h: number, width: number): readonly TensorPlan[] {
  return [
    copied(`${to}.ffn_gate${suffix}.weight`, [width, h], `${from}.gate_proj.weight`),
    copied(`${to}.ffn_up${suffix}.weight`, [width, h], `${from}.up_proj.weight`),
    copied(`${to}.ffn_down${suffix}.weight`, [h, width], `${from}.down_proj.weight`),
  ];
}

function expertTensors(config: QuasarLongConfig, to: string, from: string): readonly TensorPlan[] {
  const { hidden_size: h, moe_intermediate_size: I, num_experts: E, num_shared_experts: shared } = config;
  return [
    { ...copied(`${to}.ffn_gate_inp.weight`, [E, h], `${from}.gate.weight`), isExact: true },
    copied(`${to}.exp_probs_b.bias`, [E], `${from}.gate.expert_bias`),
    // w12 holds (hidden, gate | up) of each expert, w3 (I, hidden): both input-major, the file's are output-major.
    transposed(`${to}.ffn_gate_exps.weight`, [E, I, h], { name: `${from}.experts_w12`, columns: 2 * I, first: 0 }),
    transposed(`${to}.ffn_up_exps.weight`, [E, I, h], { name: `${from}.experts_w12`, columns: 2 * I, first: I }),
    transposed(`${to}.ffn_down_exps.weight`, [E, h, I], { name: `${from}.experts_w3`, columns: h, first: 0 }),
    ...mlpTensors(to, '_shexp', `${from}.shared_experts`, h, I * shared),
  ];
}

export const bailingMoe2: GgufArchitecture = { name: 'bailingmoe2', check, metadata, tensors };
