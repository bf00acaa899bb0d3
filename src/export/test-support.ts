/** @file Checkpoints for tests: in memory as the view that exports are written from, and a large one that costs no disk. */
import { closeSync, ftruncateSync, mkdirSync, openSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { parseConfig, type QuasarLongConfig, toConfigJson } from '../model/quasar-long/config.ts';
import { buildContract } from '../model/quasar-long/contract.ts';
import { bufferValues, initParams, type Params } from '../model/quasar-long/init.ts';
import { presetConfig } from '../model/quasar-long/presets.ts';
import { encodeSafetensorsHeader } from '../tensor/safetensors.ts';
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

/** Each layer has some 4 million numbers; the largest tensor has 8 MiB in float32. */
const largeConfig = (layers: number): QuasarLongConfig =>
  parseConfig({
    ...{ vocab_size: 512, hidden_size: 512, intermediate_size: 512, num_hidden_layers: layers, num_attention_heads: 8 },
    ...{ num_key_value_heads: 2, head_dim: 64, partial_rotary_factor: 0.5, first_k_dense_replace: 1, num_experts: 4 },
    ...{ num_experts_per_tok: 1, n_group: 1, topk_group: 1, moe_intermediate_size: 512, max_position_embeddings: 64 },
    ...{ eos_token_id: 0, pad_token_id: 0 },
  });

/** A folder whose tensors are zeros in a sparse file with a true header. Gives that file's size. */
export function writeSparseCheckpoint(folder: string, layers: number): number {
  const config = largeConfig(layers);
  const tensors = buildContract(config)
    .filter((spec) => bufferValues(config, spec) === null)
    .map(({ name, shape }) => ({ name, shape, dtype: 'F32' as const }));
  const { header, order } = encodeSafetensorsHeader(tensors, { format: 'pt' });
  const last = order.at(-1)!;
  mkdirSync(folder, { recursive: true });
  const path = join(folder, 'model.safetensors');
  const file = openSync(path, 'w');
  writeSync(file, header);
  ftruncateSync(file, header.length + last.offsetBytes + last.sizeBytes);
  closeSync(file);
  writeFileSync(join(folder, 'config.json'), JSON.stringify(toConfigJson(config)));
  writeFileSync(join(folder, 'tokenizer.json'), smallTokenizer.json);
  writeFileSync(join(folder, 'tokenizer_config.json'), smallTokenizer.config);
  return statSync(path).size;
}
