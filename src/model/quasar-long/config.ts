/**
 * @file The configuration of a `quasar_long` model: a Hugging Face config.json parsed once into a frozen object that
 * keeps the file's field names. Fields that the architecture does not read are dropped, whatever they say. Variants for
 * which no formula is known (attention dropout, scaled rotary embeddings, router noise and others) and fields that nobody
 * knows are refused by name, never ignored.
 */
import { z } from 'zod';
import { ModelError } from '../errors.ts';

/** Order of branch_mix_logits. */
export const branchNames = ['quasar', 'raven', 'gla'] as const;
export type Branch = (typeof branchNames)[number];

const size = (max: number) => z.int().min(1).max(max);
const count = (max: number) => z.int().min(0).max(max);
/** A field that is absent, or null, takes the default. */
const or = <T extends z.ZodType>(schema: T, fallback: z.output<T>) =>
  z.preprocess((value) => (value === null || value === undefined ? fallback : value), schema) as unknown as z.ZodType<
    z.output<T>
  >;

/** Defaults are those of the architecture's config class, not those of the released checkpoint. */
const schema = z.object({
  vocab_size: or(size(2 ** 24), 157184),
  hidden_size: or(size(2 ** 16), 2048),
  intermediate_size: or(size(2 ** 20), 5120),
  num_hidden_layers: or(size(1024), 20),
  num_attention_heads: or(size(1024), 16),
  num_key_value_heads: or(size(1024), 4),
  head_dim: or(size(4096), 128),
  use_qkv_bias: or(z.boolean(), false),
  use_bias: or(z.boolean(), false),
  use_qk_norm: or(z.boolean(), true),
  rms_norm_eps: or(z.number().positive().max(1), 1e-6),
  rope_theta: or(z.number().positive().max(1e12), 600000),
  partial_rotary_factor: or(z.number().positive().max(1), 1),
  use_nope: or(z.boolean(), false),
  long_context_mode: or(z.string().max(100), 'rope_short_nope_long'),
  nope_after_position: or(count(2 ** 31), 512),
  max_position_embeddings: or(size(2 ** 31), 32768),
  num_experts: or(size(65536), 256),
  num_experts_per_tok: or(size(1024), 8),
  num_shared_experts: or(count(64), 1),
  n_group: or(size(4096), 8),
  topk_group: or(size(4096), 4),
  moe_intermediate_size: or(size(2 ** 20), 512),
  first_k_dense_replace: or(count(1024), 1),
  routed_scaling_factor: or(z.number().positive().max(1e6), 1),
  initializer_range: or(z.number().nonnegative().max(10), 0.02),
  pad_token_id: z.int().min(0).nullable(),
  bos_token_id: z.int().min(0).nullable().default(null),
  eos_token_id: z.int().min(0).nullable(),
  tie_word_embeddings: or(z.boolean(), false),
  num_loops: or(size(64), 1),
  use_looped_injection: or(z.boolean(), false),
  use_parcae_loop_stabilizer: or(z.boolean(), false),
  num_nextn_predict_layers: or(count(16), 0),
  mtp_loss_scaling_factor: or(z.number().min(0).max(1e6), 0),
  engram_layers: or(z.array(count(1023)).max(1024), []),
  engram_dim: or(size(65536), 512),
  engram_slots: or(size(2 ** 31), 2000000),
  engram_num_heads: or(size(256), 8),
  engram_ngram_orders: or(z.array(size(16)).min(1).max(16), [2, 3]),
  engram_residual_scale: or(z.number().min(-1e6).max(1e6), 0.01),
  engram_lr_multiplier: or(z.number().min(0).max(1e6), 5),
  hybrid_attention_layers: or(z.array(count(1023)).max(1024), []),
  hybrid_branch_layout: or(z.enum(['mixed', 'layerwise']), 'mixed'),
  hybrid_layerwise_cycle: or(z.array(z.enum(branchNames)).max(1024), ['quasar', 'raven', 'gla']),
  hybrid_quasar_enabled: or(z.boolean(), true),
  hybrid_raven_enabled: or(z.boolean(), false),
  hybrid_gla_enabled: or(z.boolean(), true),
  hybrid_gla_layers: or(z.array(count(1023)).max(1024), []),
  /** `full`, `replace` and `linear` drop the softmax attention's output; any other word means gated addition. */
  hybrid_replacement_mode: or(z.string().max(100), 'gated'),
  hybrid_alpha_zero_bypass: or(z.boolean(), false),
  hybrid_quasar_mode: or(z.enum(['chunk', 'fused_recurrent']), 'chunk'),
  hybrid_quasar_use_rope: or(z.boolean(), false),
  hybrid_use_short_conv: or(z.boolean(), false),
  hybrid_local_window_size: or(count(2 ** 31), 0),
  hybrid_local_window_layers: or(z.array(count(1023)).max(1024), []),
  hybrid_local_window_max_fraction: or(z.number().min(0).max(1), 1 / 3),
  /** Initial share of the local window; training moves it. */
  hybrid_local_window_fraction: or(z.number().min(0).max(1), 0),
  hybrid_alpha_init: or(z.number().min(-1000).max(1000), -15),
  hybrid_gla_group_norm_size: z.int().min(1).nullable().default(null),
  hybrid_raven_slots: or(size(65536), 64),
  hybrid_raven_topk: or(size(65536), 32),
  hybrid_output_adapter_rank: or(count(65536), 16),
  hybrid_output_adapter_alpha: z.number().nullable().default(null),
  hybrid_output_gain_init: or(z.number(), 1),
  hybrid_global_output_gain_init: or(z.number(), 1),
});

/** Frozen; field names are those of config.json. */
export type QuasarLongConfig = Readonly<z.output<typeof schema>>;

type Refusal = readonly [field: string, isBuilt: (value: unknown) => boolean, why: string, part?: 'raven' | 'window'];

/**
 * What must hold for a field whose other values have no formula in the specification; of a part of the network that the
 * config does not build, nothing must.
 */
const refusals: readonly Refusal[] = [
  ['rope_scaling', absent, 'scaled rotary embeddings are not part of quasar_long'],
  ['hidden_act', (v) => absent(v) || v === 'silu', 'experts always use silu'],
  ['attention_dropout', isZero, 'dropout is not built; use 0'],
  ['hybrid_raven_decay_type', (v) => absent(v) || v === 'Mamba2', 'only decay type "Mamba2" is built', 'raven'],
  ['hybrid_raven_add_gumbel_noise', isOff, 'router noise of the raven branch is not built', 'raven'],
  ['hybrid_local_meta_tokens', isZero, 'meta tokens of the local window are not built; use 0', 'window'],
];

/**
 * Fields of other programs, and of the released config.json, that change nothing here: what transformers writes into any
 * config, defaults of its text generation, fields of the architecture that its code does not read, choices of kernels.
 */
const ignoredFields: ReadonlySet<string> = new Set([
  ...['model_type', 'architectures', 'auto_map', 'torch_dtype', 'dtype', 'transformers_version', 'use_cache'],
  ...['_name_or_path', '_attn_implementation', 'attn_implementation', 'return_dict', 'output_attentions'],
  ...['output_hidden_states', 'output_router_logits', 'unk_token_id', 'sep_token_id'],
  ...['max_seq_length', 'max_sequence_length', 'norm_topk_prob', 'router_dtype', 'max_window_layers'],
  ...['moe_router_enable_expert_bias', 'moe_shared_expert_intermediate_size', 'use_rmsnorm', 'hybrid_gla_mode'],
  ...['hybrid_skip_gqa_in_full_replacement', 'aux_loss_coef', 'router_aux_loss_coef', 'z_loss_coef'],
  ...['embedding_dropout', 'output_dropout', 'score_function', 'hybrid_gla_expand_k', 'hybrid_gla_expand_v'],
  ...['hybrid_gla_kernel_fp32', 'engram_triton_training', 'gradient_checkpointing', 'hybrid_local_meta_layers'],
  ...['hybrid_local_meta_init_std', 'is_decoder', 'is_encoder_decoder', 'tie_encoder_decoder', 'tokenizer_class'],
  ...['add_cross_attention', 'cross_attention_hidden_size', 'decoder_start_token_id', 'chunk_size_feed_forward'],
  ...['finetuning_task', 'id2label', 'label2id', 'problem_type', 'prefix', 'pruned_heads', 'task_specific_params'],
  ...['torchscript', 'use_bfloat16', 'tf_legacy_loss', 'bad_words_ids', 'begin_suppress_tokens', 'do_sample'],
  ...['diversity_penalty', 'early_stopping', 'encoder_no_repeat_ngram_size', 'exponential_decay_length_penalty'],
  ...['forced_bos_token_id', 'forced_eos_token_id', 'length_penalty', 'max_length', 'min_length', 'num_beams'],
  ...['no_repeat_ngram_size', 'num_beam_groups', 'num_return_sequences', 'output_scores', 'remove_invalid_values'],
  ...['repetition_penalty', 'return_dict_in_generate', 'suppress_tokens', 'temperature', 'top_k', 'top_p', 'typical_p'],
]);

function absent(value: unknown): boolean {
  return value === undefined || value === null;
}
function isOff(value: unknown): boolean {
  return absent(value) || value === false;
}
function isZero(value: unknown): boolean {
  return absent(value) || value === 0;
}
/**
 * Parses the fields of a config.json.
 * @throws ModelError BAD_CONFIG (with the field, its value and the bound), UNSUPPORTED_VARIANT (with the field)
 */
export function parseConfig(fields: unknown): QuasarLongConfig {
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields))
    throw new ModelError('BAD_CONFIG', 'config: expected a JSON object');
  const record = fields as Readonly<Record<string, unknown>>;
  const modelType = record.model_type;
  if (modelType !== undefined && modelType !== 'quasar_long')
    throw new ModelError(
      'BAD_CONFIG',
      `model_type: expected quasar_long, got ${JSON.stringify(modelType)?.slice(0, 60)}`,
    );
  refuseUnknown(record);
  const parsed = schema.safeParse(withDefaults(record));
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    const field = String(issue.path[0] ?? 'config');
    const value = JSON.stringify(record[field])?.slice(0, 60);
    throw new ModelError('BAD_CONFIG', `${issue.path.join('.')}: ${issue.message} (got ${value})`, {
      context: { field },
    });
  }
  refuseVariants(record, parsed.data);
  checkRelations(parsed.data);
  for (const value of Object.values(parsed.data)) if (Array.isArray(value)) Object.freeze(value);
  return Object.freeze(parsed.data);
}

const endOfText = 156892;

/** Rotary fields as transformers 5 writes them, beside those of this name or instead of them. */
const rotarySchema = z.strictObject({
  rope_type: z.literal('default').optional(),
  type: z.literal('default').optional(),
  rope_theta: z.number().optional(),
  partial_rotary_factor: z.number().optional(),
});

/** Defaults that depend on other fields, and the rotary fields where they are at home. */
function withDefaults(record: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const { vocab_size: vocab, hidden_size: h, num_attention_heads: heads, rope_parameters: given } = record;
  const filled: Record<string, unknown> = { ...record };
  // Of a small vocabulary nobody meant the released model's end of text.
  const isSmall = typeof vocab === 'number' && vocab <= endOfText;
  if (record.pad_token_id === undefined) filled.pad_token_id = isSmall ? null : endOfText;
  if (record.eos_token_id === undefined) filled.eos_token_id = isSmall ? null : endOfText;
  // What the config class makes of an explicit null.
  if (record.num_shared_experts === null) filled.num_shared_experts = 0;
  if (record.head_dim === null && typeof h === 'number' && typeof heads === 'number') filled.head_dim = h / heads;
  if (absent(given)) return filled;
  const rotary = rotarySchema.safeParse(given);
  const fault = (rule: string) =>
    new ModelError('BAD_CONFIG', `rope_parameters: ${rule} (got ${JSON.stringify(given)?.slice(0, 100)})`, {
      context: { field: 'rope_parameters' },
    });
  if (!rotary.success) throw fault('only rope_type "default", rope_theta and partial_rotary_factor are built');
  for (const field of ['rope_theta', 'partial_rotary_factor'] as const) {
    const value = rotary.data[field];
    if (value === undefined) continue;
    if (!absent(record[field]) && record[field] !== value) throw fault(`contradicts ${field} ${record[field]}`);
    filled[field] = value;
  }
  return filled;
}

const isDistillation = (field: string): boolean =>
  /^(branch_mimic_|hybrid_mimic_|hybrid_attention_(mimic|collect|transfer)_|hybrid_eval_)/.test(field);

function refuseUnknown(record: Readonly<Record<string, unknown>>): void {
  for (const field of Object.keys(record)) {
    const isKnown = field in schema.shape || ignoredFields.has(field) || field === 'rope_parameters';
    if (isKnown || isDistillation(field) || refusals.some(([name]) => name === field)) continue;
    const message = `${field.slice(0, 100)}: no field of quasar_long; misspelt, or another architecture?`;
    throw new ModelError('BAD_CONFIG', message, { context: { field } });
  }
}

function refuseVariants(record: Readonly<Record<string, unknown>>, config: QuasarLongConfig): void {
  const refuse = (field: string, why: string): never => {
    const value = JSON.stringify(record[field])?.slice(0, 60);
    throw new ModelError('UNSUPPORTED_VARIANT', `${field}: ${value ?? 'absent'} is asked for; ${why}`, {
      context: { field },
    });
  };
  const isPresent = {
    raven: branchesByLayer(config).flat().includes('raven'),
    window: config.hybrid_local_window_size > 0,
  };
  for (const [field, isBuilt, why, part] of refusals)
    if (!isBuilt(record[field]) && (part === undefined || isPresent[part])) refuse(field, why);
  for (const [field, value] of Object.entries(record)) {
    const isOn = value === true || (typeof value === 'string' && value !== '' && value !== 'hybrid_add');
    if (isDistillation(field) && isOn) refuse(field, 'distillation switches are not built');
  }
}

function checkRelations(c: QuasarLongConfig): void {
  const demand = (holds: boolean, field: keyof QuasarLongConfig, rule: string) => {
    if (holds) return;
    throw new ModelError('BAD_CONFIG', `${field}: ${rule} (got ${JSON.stringify(c[field])})`, { context: { field } });
  };
  const branches = new Set(branchesByLayer(c).flat());
  const areLayers = (layers: readonly number[]) =>
    layers.every((layer) => layer < c.num_hidden_layers) && new Set(layers).size === layers.length;
  demand(c.num_attention_heads % c.num_key_value_heads === 0, 'num_key_value_heads', 'must divide num_attention_heads');
  demand(rotaryWidth(c) % 2 === 0, 'partial_rotary_factor', 'must give an even rotary width');
  demand(c.num_experts % c.n_group === 0, 'n_group', 'must divide num_experts');
  demand(c.topk_group <= c.n_group, 'topk_group', 'must be at most n_group');
  demand(
    c.num_experts_per_tok <= (c.num_experts / c.n_group) * c.topk_group,
    'num_experts_per_tok',
    'must fit in the experts of topk_group groups',
  );
  demand(c.pad_token_id === null || c.pad_token_id < c.vocab_size, 'pad_token_id', 'must be below vocab_size');
  demand(c.eos_token_id === null || c.eos_token_id < c.vocab_size, 'eos_token_id', 'must be below vocab_size');
  const layerLists = ['hybrid_attention_layers', 'engram_layers', 'hybrid_gla_layers', 'hybrid_local_window_layers'];
  for (const field of layerLists as readonly ('engram_layers' | 'hybrid_gla_layers')[])
    demand(areLayers(c[field]), field, 'must be different layers below num_hidden_layers');
  // Of the enabled ones; hybrid_gla_layers may well leave a layer without any.
  const anywhere = { ...c, hybrid_gla_layers: [] };
  demand(
    branchesByLayer(anywhere).every((owned, layer) => owned.length > 0 || !c.hybrid_attention_layers.includes(layer)),
    c.hybrid_branch_layout === 'layerwise' ? 'hybrid_layerwise_cycle' : 'hybrid_branch_layout',
    'must leave an enabled branch for the hybrid layers',
  );
  demand(
    new Set(c.engram_ngram_orders).size === c.engram_ngram_orders.length,
    'engram_ngram_orders',
    'must be different lengths',
  );
  demand(
    c.engram_layers.length === 0 || engramTables(c).slots < 2 ** 31,
    'engram_slots',
    'must give tables below 2^31',
  );
  demand(
    !branches.has('quasar') || !c.hybrid_quasar_use_rope || rotaryWidth(c) > 0,
    'hybrid_quasar_use_rope',
    'needs a rotary width',
  );
  if (branches.has('raven')) {
    demand(
      c.hidden_size % c.num_attention_heads === 0,
      'num_attention_heads',
      'must divide hidden_size (raven branch)',
    );
    demand(c.hybrid_raven_topk <= c.hybrid_raven_slots, 'hybrid_raven_topk', 'must be at most hybrid_raven_slots');
  }
  const groups = c.hybrid_gla_group_norm_size ?? c.num_attention_heads;
  demand(
    (c.num_attention_heads * c.head_dim) % groups === 0,
    'hybrid_gla_group_norm_size',
    'must divide heads x head_dim',
  );
}

/** r: how many channels of a head are rotated. */
export function rotaryWidth(config: QuasarLongConfig): number {
  return Math.floor(config.head_dim * config.partial_rotary_factor);
}

/**
 * Which linear branches each layer owns. Layerwise: the sorted hybrid layers take the enabled names of the cycle in turn;
 * mixed: each has all that are enabled. `hybrid_gla_layers`, if not empty, takes gla from all other layers.
 */
export function branchesByLayer(config: QuasarLongConfig): readonly (readonly Branch[])[] {
  const isEnabled: Readonly<Record<Branch, boolean>> = {
    quasar: config.hybrid_quasar_enabled,
    raven: config.hybrid_raven_enabled,
    gla: config.hybrid_gla_enabled,
  };
  const cycle = config.hybrid_layerwise_cycle.filter((branch) => isEnabled[branch]);
  const mixed = branchNames.filter((branch) => isEnabled[branch]);
  const allowsGla = (layer: number) =>
    config.hybrid_gla_layers.length === 0 || config.hybrid_gla_layers.includes(layer);
  const layers: Branch[][] = Array.from({ length: config.num_hidden_layers }, () => []);
  [...config.hybrid_attention_layers]
    .sort((a, b) => a - b)
    .forEach((layer, rank) => {
      const turn = cycle[rank % cycle.length];
      const owned = config.hybrid_branch_layout === 'mixed' ? mixed : turn === undefined ? [] : [turn];
      layers[layer] = owned.filter((branch) => branch !== 'gla' || allowsGla(layer));
    });
  return layers;
}

/**
 * The token that ends a document, for those who read or write text.
 * @throws ModelError BAD_CONFIG eos_token_id
 */
export function endOfTextOf({ eos_token_id: id, vocab_size: vocab }: QuasarLongConfig): number {
  if (id !== null) return id;
  const message = `eos_token_id: is needed, as the default ${endOfText} is beyond vocab_size ${vocab}`;
  throw new ModelError('BAD_CONFIG', message, { context: { field: 'eos_token_id' } });
}

/** Do hybrid layers drop the output of softmax attention? Not where `hybrid_alpha_zero_bypass` drops the branches. */
export function dropsSoftmax(config: QuasarLongConfig): boolean {
  return ['full', 'replace', 'linear'].includes(config.hybrid_replacement_mode);
}

/** Keys that the local window of a layer sees; 0 where it has none. */
export function localWindow(config: QuasarLongConfig, layer: number): number {
  const { hybrid_local_window_size: size, hybrid_local_window_layers: layers } = config;
  if (!config.hybrid_attention_layers.includes(layer)) return 0;
  return layers.length === 0 || layers.includes(layer) ? size : 0;
}

/** Engram's hash tables: how many, rows of each (the least prime from engram_slots/tables on), width of a row. */
export function engramTables(config: QuasarLongConfig): { count: number; slots: number; width: number } {
  const count = config.engram_ngram_orders.length * config.engram_num_heads;
  let slots = Math.max(2, Math.floor(config.engram_slots / count));
  while (!isPrime(slots)) slots++;
  return { count, slots, width: Math.max(16, Math.floor(config.engram_dim / count)) };
}

function isPrime(n: number): boolean {
  for (let d = 2; d * d <= n; d++) if (n % d === 0) return false;
  return n >= 2;
}

export function isMoeLayer(config: QuasarLongConfig, layer: number): boolean {
  return layer >= config.first_k_dense_replace;
}

/** The fields of a config.json that gives this config back, with the class names that other programs look for. */
export function toConfigJson(config: QuasarLongConfig): Readonly<Record<string, unknown>> {
  return {
    architectures: ['QuasarLongForCausalLM'],
    model_type: 'quasar_long',
    torch_dtype: 'float32',
    ...config,
    hidden_act: 'silu',
    hybrid_raven_decay_type: 'Mamba2',
    moe_router_enable_expert_bias: true,
    moe_shared_expert_intermediate_size: config.moe_intermediate_size,
    norm_topk_prob: true,
    rope_scaling: null,
    score_function: 'sigmoid',
    router_dtype: 'fp32',
    use_rmsnorm: true,
  };
}
