/**
 * @file The configuration of a `quasar_long` model: a Hugging Face config.json parsed once into a frozen object that
 * keeps the file's field names. Fields that change nothing are dropped. Variants that are not built (loops, Engram,
 * MTP, the mixed layout and others) are refused by name instead of being ignored.
 */
import { z } from 'zod';
import { ModelError } from '../errors.ts';

export type Branch = 'quasar' | 'raven' | 'gla';

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
  pad_token_id: z.int().min(0).nullable().default(156892),
  bos_token_id: z.int().min(0).nullable().default(null),
  eos_token_id: or(count(2 ** 24), 156892),
  hybrid_attention_layers: or(z.array(count(1023)).max(1024), []),
  hybrid_layerwise_cycle: or(z.array(z.enum(['quasar', 'raven', 'gla'])).max(1024), ['quasar', 'raven', 'gla']),
  hybrid_quasar_enabled: or(z.boolean(), true),
  hybrid_raven_enabled: or(z.boolean(), false),
  hybrid_gla_enabled: or(z.boolean(), true),
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

/** What must hold for a field that only one variant of the architecture gives another value. */
const refusals: readonly (readonly [field: string, isBuilt: (value: unknown) => boolean, why: string])[] = [
  ['num_loops', (v) => absent(v) || v === 1, 'looped stacks are not built; use 1'],
  ['use_looped_injection', isOff, 'looped injection is not built'],
  ['use_parcae_loop_stabilizer', isOff, 'the loop stabiliser is not built'],
  ['engram_layers', isEmpty, 'Engram memory is not built'],
  ['num_nextn_predict_layers', (v) => absent(v) || v === 0, 'MTP layers are not built'],
  ['tie_word_embeddings', isOff, 'tied embeddings are not built'],
  ['rope_scaling', absent, 'scaled rotary embeddings are not built'],
  ['hidden_act', (v) => absent(v) || v === 'silu', 'experts always use silu'],
  ['attention_dropout', (v) => absent(v) || v === 0, 'dropout is not built'],
  [
    'hybrid_replacement_mode',
    (v) => absent(v) || v === 'gated' || v === 'add',
    'only the gated addition ("gated" or "add") is built',
  ],
  ['hybrid_quasar_mode', (v) => absent(v) || v === 'chunk', 'only mode "chunk" of the quasar branch is built'],
  ['hybrid_quasar_use_rope', isOff, 'rotary embedding in the quasar branch is not built'],
  ['hybrid_use_short_conv', isOff, 'the short convolution of the quasar branch is not built'],
  ['hybrid_gla_layers', isEmpty, 'restricting the gla branch to listed layers is not built'],
  ['hybrid_raven_decay_type', (v) => absent(v) || v === 'Mamba2', 'only decay type "Mamba2" is built'],
  ['hybrid_raven_add_gumbel_noise', isOff, 'router noise of the raven branch is not built'],
  ['hybrid_local_window_size', (v) => absent(v) || v === 0, 'the local window is not built'],
  ['hybrid_local_meta_tokens', (v) => absent(v) || v === 0, 'meta tokens of the local window are not built'],
  ['hybrid_alpha_zero_bypass', isOff, 'skipping nearly closed branches is not built'],
];

function absent(value: unknown): boolean {
  return value === undefined || value === null;
}
function isOff(value: unknown): boolean {
  return absent(value) || value === false;
}
function isEmpty(value: unknown): boolean {
  return absent(value) || (Array.isArray(value) && value.length === 0);
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
  refuseVariants(record);
  const parsed = schema.safeParse(record);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    const field = String(issue.path[0] ?? 'config');
    const value = JSON.stringify(record[field])?.slice(0, 60);
    throw new ModelError('BAD_CONFIG', `${issue.path.join('.')}: ${issue.message} (got ${value})`, {
      context: { field },
    });
  }
  checkRelations(parsed.data);
  Object.freeze(parsed.data.hybrid_attention_layers);
  Object.freeze(parsed.data.hybrid_layerwise_cycle);
  return Object.freeze(parsed.data);
}

function refuseVariants(record: Readonly<Record<string, unknown>>): void {
  const refuse = (field: string, why: string): never => {
    const value = JSON.stringify(record[field])?.slice(0, 60);
    throw new ModelError('UNSUPPORTED_VARIANT', `${field}: ${value ?? 'absent'} is asked for; ${why}`, {
      context: { field },
    });
  };
  for (const [field, isBuilt, why] of refusals) if (!isBuilt(record[field])) refuse(field, why);
  const hybridLayers = record.hybrid_attention_layers;
  if (!isEmpty(hybridLayers) && record.hybrid_branch_layout !== 'layerwise')
    refuse('hybrid_branch_layout', 'only "layerwise" is built (the default, "mixed", is not)');
  for (const [field, value] of Object.entries(record)) {
    const isDistillation = /^(branch_mimic_|hybrid_attention_mimic_|hybrid_eval_)/.test(field);
    const isOn = value === true || (typeof value === 'string' && value !== '' && value !== 'hybrid_add');
    if (isDistillation && isOn) refuse(field, 'distillation switches are not built');
  }
}

function checkRelations(c: QuasarLongConfig): void {
  const demand = (holds: boolean, field: keyof QuasarLongConfig, rule: string) => {
    if (holds) return;
    throw new ModelError('BAD_CONFIG', `${field}: ${rule} (got ${JSON.stringify(c[field])})`, { context: { field } });
  };
  const branches = new Set(branchesByLayer(c).filter((branch) => branch !== null));
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
  demand(c.eos_token_id < c.vocab_size, 'eos_token_id', 'must be below vocab_size');
  demand(
    c.hybrid_attention_layers.every((layer) => layer < c.num_hidden_layers) &&
      new Set(c.hybrid_attention_layers).size === c.hybrid_attention_layers.length,
    'hybrid_attention_layers',
    'must be different layers below num_hidden_layers',
  );
  demand(
    c.hybrid_attention_layers.length === 0 || branches.size > 0,
    'hybrid_layerwise_cycle',
    'must leave an enabled branch for the hybrid layers',
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

/** Which linear branch each layer owns: the sorted hybrid layers take the enabled names of the cycle in turn. */
export function branchesByLayer(config: QuasarLongConfig): readonly (Branch | null)[] {
  const isEnabled: Readonly<Record<Branch, boolean>> = {
    quasar: config.hybrid_quasar_enabled,
    raven: config.hybrid_raven_enabled,
    gla: config.hybrid_gla_enabled,
  };
  const cycle = config.hybrid_layerwise_cycle.filter((branch) => isEnabled[branch]);
  const layers: (Branch | null)[] = new Array<null>(config.num_hidden_layers).fill(null);
  [...config.hybrid_attention_layers]
    .sort((a, b) => a - b)
    .forEach((layer, rank) => {
      layers[layer] = cycle[rank % cycle.length] ?? null;
    });
  return layers;
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
    hybrid_branch_layout: 'layerwise',
    hybrid_replacement_mode: 'add',
    hybrid_quasar_mode: 'chunk',
    hybrid_raven_decay_type: 'Mamba2',
    hybrid_use_short_conv: false,
    moe_router_enable_expert_bias: true,
    moe_shared_expert_intermediate_size: config.moe_intermediate_size,
    norm_topk_prob: true,
    num_loops: 1,
    num_nextn_predict_layers: 0,
    rope_scaling: null,
    score_function: 'sigmoid',
    router_dtype: 'fp32',
    tie_word_embeddings: false,
    use_rmsnorm: true,
  };
}
