/** @file Models that the tests, and the script that asks llama.cpp about them, write as GGUF files: equal bytes everywhere. */
import { parseConfig, type QuasarLongConfig } from '../../model/quasar-long/config.ts';
import { initParams, type Params, type TensorValues } from '../../model/quasar-long/init.ts';
import { presetConfig } from '../../model/quasar-long/presets.ts';
import { Rng } from '../../util/rng.ts';
import type { TokenizerFiles } from './tokenizer.ts';
import type { GgufExport } from './write.ts';

const shared = {
  ...{ vocab_size: 300, hidden_size: 32, intermediate_size: 64, num_hidden_layers: 3, initializer_range: 0.15 },
  ...{ num_attention_heads: 4, num_key_value_heads: 2, head_dim: 8, partial_rotary_factor: 0.5, use_nope: true },
  ...{ nope_after_position: 64, max_position_embeddings: 64, rope_theta: 10000, first_k_dense_replace: 1 },
  ...{ num_experts: 8, num_experts_per_tok: 2, moe_intermediate_size: 32, routed_scaling_factor: 2.5 },
  ...{ eos_token_id: 0, pad_token_id: 0 },
};

/** Every branch of the writer: groups or none, tied embeddings, one expert a token, several shared ones. */
export const ggufCases: Readonly<Record<string, QuasarLongConfig>> = {
  groups: parseConfig({ ...shared, n_group: 4, topk_group: 2 }),
  'tied, no groups, two shared experts': parseConfig({
    ...{ ...shared, n_group: 2, topk_group: 2, tie_word_embeddings: true, num_shared_experts: 2 },
    ...{ partial_rotary_factor: 1, num_key_value_heads: 4 },
  }),
  'one expert a token, no dense layer': parseConfig({
    ...{ ...shared, n_group: 1, topk_group: 1, num_experts_per_tok: 1, first_k_dense_replace: 0 },
  }),
};

/** The architecture's initial values, with norms and selection biases that do something. */
export function ggufParams(config: QuasarLongConfig): Params {
  const params = initParams(config, 'gguf');
  for (const [name, values] of params) if (/norm|expert_bias/.test(name)) disturb(name, values);
  return params;
}

function disturb(name: string, values: TensorValues): void {
  const rng = new Rng(`gguf ${name}`);
  values.forEach((value, i) => void (values[i] = Number(value) + 0.4 * (rng.uniform() - 0.5)));
}

/** A vocabulary of two special tokens, three letters and a merge. */
export const smallTokenizer: TokenizerFiles = {
  json: JSON.stringify({
    normalizer: null,
    post_processor: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: true },
    decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    added_tokens: [
      { id: 0, content: '<|endoftext|>', special: true },
      { id: 1, content: '<|startoftext|>', special: true },
    ],
    model: {
      type: 'BPE',
      vocab: { '<|endoftext|>': 0, '<|startoftext|>': 1, a: 2, b: 3, Ġ: 4, Ġa: 5 },
      merges: [['Ġ', 'a']],
    },
  }),
  config: JSON.stringify({ eos_token: '<|endoftext|>', bos_token: '<|startoftext|>', chat_template: '{{ messages }}' }),
};

export function ggufExport(config: QuasarLongConfig, changes: Partial<GgufExport> = {}): GgufExport {
  const params = ggufParams(config);
  const read = async (name: string): Promise<TensorValues> => params.get(name)!;
  return { config, read, tokenizer: smallTokenizer, type: 'F32', name: 'test', ...changes };
}

/** Forty ids. */
export function ggufPrompt(config: QuasarLongConfig): number[] {
  const rng = new Rng('gguf prompt');
  return Array.from({ length: 40 }, () => 1 + rng.below(config.vocab_size - 1));
}

export const nanoGguf = presetConfig('nano-gguf');
