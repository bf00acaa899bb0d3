/**
 * @file The backbone's other name: BailingMoeV2 (Ling 2), which vLLM, SGLang, mlx-lm and llama.cpp's converter know. Its
 * config.json and its tensors, one for each expert. Exact for models without hybrid layers; the same rules as in GGUF
 * files say where it is not.
 */
import { expertTensors } from '../model/expert-layout.ts';
import { type QuasarLongConfig, toConfigJson } from '../model/quasar-long/config.ts';
import { buildContract } from '../model/quasar-long/contract.ts';
import { copied, oneExpert, type TensorPlan } from './tensor-plan.ts';

const remoteCode = 'inclusionAI/Ling-mini-2.0--';

/** Fields that BailingMoeV2's code reads, in its words. */
export function lingConfig(config: QuasarLongConfig, contextLength: number, torchDtype: string): object {
  const { hidden_act, norm_topk_prob, score_function, router_dtype, use_rmsnorm, rope_scaling } = toConfigJson(config);
  const same = [
    ...['vocab_size', 'hidden_size', 'intermediate_size', 'num_hidden_layers', 'num_attention_heads', 'head_dim'],
    ...['num_key_value_heads', 'use_qkv_bias', 'use_bias', 'use_qk_norm', 'rms_norm_eps', 'tie_word_embeddings'],
    ...['rope_theta', 'partial_rotary_factor', 'num_experts', 'num_experts_per_tok', 'num_shared_experts', 'n_group'],
    ...['topk_group', 'moe_intermediate_size', 'first_k_dense_replace', 'routed_scaling_factor', 'initializer_range'],
    ...['bos_token_id', 'eos_token_id', 'pad_token_id'],
  ] as const;
  const fields = config as unknown as Readonly<Record<string, unknown>>;
  return {
    architectures: ['BailingMoeV2ForCausalLM'],
    auto_map: {
      AutoConfig: `${remoteCode}configuration_bailing_moe_v2.BailingMoeV2Config`,
      AutoModel: `${remoteCode}modeling_bailing_moe_v2.BailingMoeV2Model`,
      AutoModelForCausalLM: `${remoteCode}modeling_bailing_moe_v2.BailingMoeV2ForCausalLM`,
    },
    model_type: 'bailing_moe',
    torch_dtype: torchDtype,
    ...Object.fromEntries(same.map((key) => [key, fields[key]])),
    ...{ hidden_act, norm_topk_prob, score_function, router_dtype, use_rmsnorm, rope_scaling },
    max_position_embeddings: contextLength,
    moe_router_enable_expert_bias: true,
    moe_shared_expert_intermediate_size: config.moe_intermediate_size * config.num_shared_experts,
    num_nextn_predict_layers: 0,
    mtp_loss_scaling_factor: 0,
    use_cache: true,
    ...{ attention_dropout: 0, embedding_dropout: 0, output_dropout: 0, output_router_logits: false },
    use_sliding_window: false,
    max_window_layers: config.num_hidden_layers,
  };
}

/** Tensors of the layers that logits depend on, and no rotary frequencies: those follow from the config. */
export function lingTensors(config: QuasarLongConfig): readonly TensorPlan[] {
  return backboneSpecs(config).flatMap(({ name, shape, isRouted }) =>
    isRouted ? perExpert(config, name) : [{ ...copied(name, shape, name), isExact: isExactName(name, shape) }],
  );
}

/** What BailingMoeV2 has of the contract. MTP layers lie behind the others. */
export function backboneSpecs(config: QuasarLongConfig) {
  return buildContract(config).filter(({ name }) => {
    const layer = /^model\.layers\.(\d+)\./.exec(name)?.[1];
    return name !== 'model.rotary_emb.inv_freq' && Number(layer ?? 0) < config.num_hidden_layers;
  });
}

/** Norms, biases and routers. */
export const isExactName = (name: string, shape: readonly number[]): boolean =>
  shape.length === 1 || name.endsWith('.mlp.gate.weight');

function perExpert(config: QuasarLongConfig, stacked: string): readonly TensorPlan[] {
  const { hidden_size: h, moe_intermediate_size: I } = config;
  const columns = stacked.endsWith('w3') ? h : 2 * I;
  return expertTensors(config, stacked).map(({ name, shape }) => {
    const [, expert, part] = /experts\.(\d+)\.(\w+)_proj/.exec(name)!;
    return oneExpert(name, shape, { name: stacked, columns, first: part === 'up' ? I : 0 }, Number(expert));
  });
}
