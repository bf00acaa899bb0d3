/** @file A checkpoint in memory as the view that exports are written from. */
import { parseConfig, type QuasarLongConfig } from '../model/quasar-long/config.ts';
import { initParams, type Params } from '../model/quasar-long/init.ts';
import { presetConfig } from '../model/quasar-long/presets.ts';
import { ggufParams, smallTokenizer } from './gguf/test-support.ts';
import type { ModelView } from './model-view.ts';

/** Three hybrid layers, one of each branch. */
export const hybridConfig = presetConfig('tiny');

/** Rows that suit blocks of 256 and groups of 64. */
export const wideConfig = parseConfig({
  ...{ vocab_size: 64, hidden_size: 256, intermediate_size: 256, num_hidden_layers: 3, num_attention_heads: 4 },
  ...{ num_key_value_heads: 1, head_dim: 64, partial_rotary_factor: 0.5, first_k_dense_replace: 1, num_experts: 4 },
  ...{ num_experts_per_tok: 2, n_group: 2, topk_group: 1, moe_intermediate_size: 256, max_position_embeddings: 64 },
  ...{ rope_theta: 10000, eos_token_id: 0, pad_token_id: 0, initializer_range: 0.1, routed_scaling_factor: 2.5 },
});

const made = new Map<QuasarLongConfig, Params>();

/** The same for each call: not to be changed. */
export function paramsOf(config: QuasarLongConfig): Params {
  const params =
    made.get(config) ?? (config.hybrid_attention_layers.length > 0 ? initParams(config, 7) : ggufParams(config));
  made.set(config, params);
  return params;
}

export function viewOf(config: QuasarLongConfig, params: Params = paramsOf(config)): ModelView {
  return {
    ...{ name: 'test', config, tokenizer: smallTokenizer, source: 'test' },
    readme: '---\nlicense: "apache-2.0"\n---\n\n# A run\n\nText.\n',
    read: async (name) => params.get(name)!,
  };
}
