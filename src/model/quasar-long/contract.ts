/**
 * @file The parameter contract: every tensor of a checkpoint by name, shape and role, in one fixed order, computed from
 * the config alone. Nothing is allocated, so the contract of the released 16.55-billion-parameter model costs nothing.
 */
import { elementCount, type TensorContractEntry } from '../../tensor/contract.ts';
import {
  type Branch,
  branchesByLayer,
  dropsSoftmax,
  engramTables,
  isMoeLayer,
  localWindow,
  type QuasarLongConfig,
  rotaryWidth,
} from './config.ts';

/**
 * A tensor of a checkpoint. Beside what the contract of a run says of it:
 * `constant` tensors are the buffers that the config determines and the parameters whose gradient is zero in the
 * variants built here (never read, or cancelling out); they keep their initial values.
 */
export interface TensorSpec extends TensorContractEntry {
  readonly dtype: 'F32' | 'I64';
  /** A buffer of the reference implementation; not counted as a parameter. */
  readonly isBuffer: boolean;
  /** True where the optimiser's weight decay applies: matrices, but no norm, bias, gate, gain or decay rate. */
  readonly decay: boolean;
  /** Of a routed expert's numbers, the share that one token uses is num_experts_per_tok / num_experts. */
  readonly isRouted: boolean;
}

type Traits = Partial<Pick<TensorSpec, 'kind' | 'decay' | 'isRouted' | 'isBuffer' | 'dtype'>>;
type Add = (name: string, shape: readonly number[], traits?: Traits) => void;

/** Order: embedding, layers by index (MTP layers after the others), final norm, head, rotary buffer. */
export function buildContract(config: QuasarLongConfig): readonly TensorSpec[] {
  const tensors: TensorSpec[] = [];
  const add: Add = (name, shape, traits = {}) => {
    const defaults = { kind: 'param', decay: shape.length >= 2, isRouted: false, isBuffer: false } as const;
    tensors.push(Object.freeze({ name, shape, dtype: 'F32', ...defaults, ...traits }));
  };
  const { vocab_size: V, hidden_size: h, num_hidden_layers: L } = config;
  add('model.word_embeddings.weight', [V, h]);
  for (let layer = 0; layer < L; layer++) addLayer(add, config, layer);
  for (let j = 0; j < config.num_nextn_predict_layers; j++) addMtpLayer(add, config, L + j);
  add('model.norm.weight', [h]);
  if (!config.tie_word_embeddings) add('lm_head.weight', [V, h]);
  add('model.rotary_emb.inv_freq', [rotaryWidth(config) / 2], { kind: 'constant', isBuffer: true });
  return tensors;
}

function addLayer(add: Add, config: QuasarLongConfig, layer: number): void {
  const prefix = `model.layers.${layer}`;
  const h = config.hidden_size;
  if (config.use_looped_injection) add(`${prefix}.injection_gate`, [1]);
  if (config.use_parcae_loop_stabilizer) {
    add(`${prefix}.parcae_decay_raw`, [1]);
    add(`${prefix}.parcae_anchor_gate`, [1]);
  }
  if (config.engram_layers.includes(layer)) addEngram(add, `${prefix}.engram`, config);
  add(`${prefix}.input_layernorm.weight`, [h]);
  const isHybrid = config.hybrid_attention_layers.includes(layer);
  // In a replacing layer only a local window still reads the softmax attention's tensors, or who bypasses the branches.
  const isReplaced = isHybrid && dropsSoftmax(config) && !config.hybrid_alpha_zero_bypass;
  const isRead = !isReplaced || localWindow(config, layer) > 0;
  addGroupedQuery(add, `${prefix}.attention`, config, isRead ? {} : { kind: 'constant' });
  if (isHybrid) {
    const branches = branchesByLayer(config)[layer]!;
    addMixing(add, `${prefix}.attention`, config, layer, branches);
    for (const branch of branches) addBranch[branch](add, `${prefix}.attention.${branch}_attention`, config);
  }
  add(`${prefix}.post_attention_layernorm.weight`, [h]);
  if (isMoeLayer(config, layer)) addMoe(add, `${prefix}.mlp`, config);
  else addMlp(add, `${prefix}.mlp`, h, config.intermediate_size);
}

/** Where the loss does not weigh the MTP layers, nothing of theirs has a gradient. */
function addMtpLayer(add: Add, config: QuasarLongConfig, layer: number): void {
  const prefix = `model.layers.${layer}`;
  const h = config.hidden_size;
  const addTrained: Add =
    config.mtp_loss_scaling_factor > 0
      ? add
      : (name, shape, traits = {}) => add(name, shape, { ...traits, kind: traits.kind ?? 'constant' });
  for (const norm of ['enorm', 'hnorm']) addTrained(`${prefix}.${norm}.weight`, [h]);
  addTrained(`${prefix}.eh_proj.weight`, [h, 2 * h]);
  addTrained(`${prefix}.input_layernorm.weight`, [h]);
  addGroupedQuery(addTrained, `${prefix}.attention`, config);
  addTrained(`${prefix}.post_attention_layernorm.weight`, [h]);
  addMoe(addTrained, `${prefix}.mlp`, config);
  addTrained(`${prefix}.final_layernorm.weight`, [h]);
}

function addGroupedQuery(add: Add, prefix: string, c: QuasarLongConfig, traits: Traits = {}): void {
  const { hidden_size: h, num_attention_heads: H, num_key_value_heads: KV, head_dim: D } = c;
  const width = (H + 2 * KV) * D;
  add(`${prefix}.query_key_value.weight`, [width, h], traits);
  if (c.use_qkv_bias) add(`${prefix}.query_key_value.bias`, [width], traits);
  if (c.use_qk_norm) {
    add(`${prefix}.query_layernorm.weight`, [D], traits);
    add(`${prefix}.key_layernorm.weight`, [D], traits);
  }
  add(`${prefix}.dense.weight`, [h, H * D], traits);
  if (c.use_bias) add(`${prefix}.dense.bias`, [h], traits);
}

/**
 * Gate, gains and adapter of a hybrid layer. With one branch the mix logits cancel out; the output gain cancels out
 * unless a local window is added between its two uses; a gate that nothing passes has no gradient.
 */
function addMixing(add: Add, prefix: string, c: QuasarLongConfig, layer: number, branches: readonly Branch[]): void {
  const { hidden_size: h, hybrid_output_adapter_rank: R } = c;
  const hasWindow = localWindow(c, layer) > 0;
  const isUsed = branches.length > 0 || hasWindow;
  const when = (holds: boolean): Traits => (holds ? {} : { kind: 'constant' });
  add(`${prefix}.replace_alpha_raw`, [1], when(isUsed && !dropsSoftmax(c)));
  add(`${prefix}.branch_mix_logits`, [3], when(branches.length > 1));
  add(`${prefix}.branch_output_gain`, [1], when(hasWindow));
  add(`${prefix}.branch_global_output_gain`, [1], when(branches.length > 0));
  add(`${prefix}.branch_output_channel_gain`, [h], when(isUsed));
  add(`${prefix}.branch_local_window_mix_logit`, [1], when(hasWindow));
  if (R > 0) {
    add(`${prefix}.branch_output_adapter_down.weight`, [R, h], when(isUsed));
    add(`${prefix}.branch_output_adapter_up.weight`, [h, R], when(isUsed));
  }
}

const addBranch = {
  quasar(add: Add, prefix: string, c: QuasarLongConfig): void {
    const { hidden_size: h, num_attention_heads: H, head_dim: D } = c;
    for (const part of ['q', 'k', 'v']) add(`${prefix}.${part}_proj.weight`, [H * D, h]);
    // Mode "chunk" does not decay the state, so nothing reads f_proj.
    const isDecaying = c.hybrid_quasar_mode === 'fused_recurrent';
    add(`${prefix}.f_proj.weight`, [H * D, h], isDecaying ? {} : { kind: 'constant' });
    if (c.hybrid_use_short_conv)
      for (const part of ['q', 'k', 'v']) add(`${prefix}.${part}_conv1d.weight`, [H * D, 1, 4]);
    add(`${prefix}.b_proj.weight`, [H, h]);
    add(`${prefix}.A_log`, [H]);
    add(`${prefix}.dt_bias`, [H * D]);
    add(`${prefix}.g_proj.0.weight`, [D, h]);
    add(`${prefix}.g_proj.1.weight`, [H * D, D]);
    add(`${prefix}.g_proj.1.bias`, [H * D]);
    add(`${prefix}.o_norm.weight`, [D]);
    add(`${prefix}.o_proj.weight`, [h, H * D]);
  },
  raven(add: Add, prefix: string, c: QuasarLongConfig): void {
    const { hidden_size: h, num_attention_heads: H, num_key_value_heads: KV, hybrid_raven_slots: M } = c;
    const d = h / H;
    add(`${prefix}.q_proj.weight`, [h, h]);
    add(`${prefix}.k_proj.weight`, [KV * d, h]);
    add(`${prefix}.v_proj.weight`, [KV * d, h]);
    add(`${prefix}.r_proj.weight`, [H * M, h]);
    add(`${prefix}.a_proj.weight`, [H, h]);
    add(`${prefix}.A_log`, [H]);
    add(`${prefix}.dt_bias`, [H]);
    add(`${prefix}.q_norm.weight`, [d]);
    add(`${prefix}.k_norm.weight`, [d]);
    add(`${prefix}.g_norm.weight`, [h]);
    add(`${prefix}.o_proj.weight`, [h, h]);
  },
  gla(add: Add, prefix: string, c: QuasarLongConfig): void {
    const { hidden_size: h, num_attention_heads: H, head_dim: D } = c;
    addGroupedQuery(add, prefix, c);
    add(`${prefix}.g_proj.weight`, [H * D, h]);
    add(`${prefix}.g_norm.weight`, [H * D]);
    add(`${prefix}.slope`, [H], { kind: 'constant', isBuffer: true });
  },
};

/** Tables learn by themselves what they hold, so nothing of them decays (they have a learning rate of their own). */
function addEngram(add: Add, prefix: string, c: QuasarLongConfig): void {
  const { hidden_size: h, engram_dim: d, engram_ngram_orders: orders } = c;
  const { count, slots, width } = engramTables(c);
  const integers = { dtype: 'I64', kind: 'constant', isBuffer: true } as const;
  add(`${prefix}.embed_tables`, [count, slots, width], { decay: false });
  add(`${prefix}.embed_proj.weight`, [d, count * width]);
  add(`${prefix}.q_proj.weight`, [d, h]);
  for (const part of ['W_K', 'W_V']) add(`${prefix}.${part}.weight`, [d, d]);
  add(`${prefix}.conv_norm.weight`, [d]);
  add(`${prefix}.conv.weight`, [d, 1, 4]);
  add(`${prefix}.out_proj.weight`, [h, d]);
  add(`${prefix}.token_map`, [c.vocab_size], integers);
  add(`${prefix}.seeds`, [count], integers);
  add(`${prefix}.ngram_orders_buf`, [orders.length], integers);
}

function addMlp(add: Add, prefix: string, h: number, width: number): void {
  add(`${prefix}.gate_proj.weight`, [width, h]);
  add(`${prefix}.up_proj.weight`, [width, h]);
  add(`${prefix}.down_proj.weight`, [h, width]);
}

function addMoe(add: Add, prefix: string, c: QuasarLongConfig): void {
  const { hidden_size: h, num_experts: E, moe_intermediate_size: I, num_shared_experts: shared } = c;
  add(`${prefix}.gate.weight`, [E, h]);
  add(`${prefix}.gate.expert_bias`, [E], { kind: 'selection-bias', isBuffer: true });
  add(`${prefix}.experts_w12`, [E, h, 2 * I], { isRouted: true });
  add(`${prefix}.experts_w3`, [E, I, h], { isRouted: true });
  if (shared > 0) addMlp(add, `${prefix}.shared_experts`, h, I * shared);
}

export interface ParameterCount {
  /** Every number of a checkpoint's parameters; buffers do not count. */
  readonly total: number;
  /** What one token uses: of the routed experts only those chosen; embedding and head count whole. */
  readonly active: number;
  readonly tensorCount: number;
  readonly bufferNumbers: number;
}

/** Exact up to 2^53. */
export function countParameters(config: QuasarLongConfig): ParameterCount {
  const tensors = buildContract(config);
  let total = 0;
  let active = 0;
  let bufferNumbers = 0;
  for (const spec of tensors) {
    const numbers = elementCount(spec.shape);
    if (spec.isBuffer) {
      bufferNumbers += numbers;
      continue;
    }
    total += numbers;
    active += spec.isRouted ? (numbers / config.num_experts) * config.num_experts_per_tok : numbers;
  }
  return { total, active, tensorCount: tensors.length, bufferNumbers };
}
