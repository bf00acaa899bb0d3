/**
 * @file A GGUF file that was written here as a model again, tensor by tensor: what is quantised comes back as its
 * quantiser left it. Files of other programs are read where they say all that the config needs.
 */
import type { OpenCheckpoint } from '../../model/checkpoint.ts';
import { parseConfig, type QuasarLongConfig } from '../../model/quasar-long/config.ts';
import { buildContract } from '../../model/quasar-long/contract.ts';
import { bufferValues, type TensorValues } from '../../model/quasar-long/init.ts';
import { ExportError } from '../errors.ts';
import { bailingMoe2 } from './bailing-moe2.ts';
import { quasarLong } from './quasar-long.ts';
import { type GgufField, type OpenGguf, openGguf } from './read.ts';

/** @throws ExportError UNREADABLE; ModelError for a config that is none */
export async function openGgufModel(path: string): Promise<OpenCheckpoint> {
  const file = await openGguf(path);
  try {
    const architecture = file.metadata.get('general.architecture');
    if (architecture === quasarLong.name) return quasarLongModel(path, file);
    if (architecture === bailingMoe2.name) return bailingModel(path, file);
    throw new ExportError(
      'UNREADABLE',
      `${path}: architecture ${String(architecture)}; quasar_long and bailingmoe2 are read`,
    );
  } catch (error) {
    await file.close();
    throw error;
  }
}

function quasarLongModel(path: string, file: OpenGguf): OpenCheckpoint {
  const text = file.metadata.get('quasar_long.config');
  if (typeof text !== 'string') throw new ExportError('UNREADABLE', `${path}: quasar_long.config is missing`);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new ExportError('UNREADABLE', `${path}: quasar_long.config is no JSON`, { cause });
  }
  return opened(path, parseConfig(json), file, (name) => [name]);
}

function bailingModel(path: string, file: OpenGguf): OpenCheckpoint {
  const config = bailingConfig(path, file.metadata);
  const sources = new Map<string, string>();
  for (const plan of bailingMoe2.tensors(config)) if (plan.source) sources.set(plan.source, plan.name);
  return opened(path, config, file, (name) => {
    const [, layer, part] = /^model\.layers\.(\d+)\.mlp\.experts_(w12|w3)$/.exec(name) ?? [];
    const stacked = (which: string): string => `blk.${layer}.ffn_${which}_exps.weight`;
    if (part === 'w12') return [stacked('gate'), stacked('up')];
    return [part === 'w3' ? stacked('down') : (sources.get(name) ?? name)];
  });
}

function opened(
  path: string,
  config: QuasarLongConfig,
  file: OpenGguf,
  storedIn: (name: string) => readonly string[],
): OpenCheckpoint {
  const contract = new Map(buildContract(config).map((spec) => [spec.name, spec]));
  for (const spec of contract.values())
    if (bufferValues(config, spec) === null)
      for (const name of storedIn(spec.name))
        if (!file.tensors.has(name)) throw new ExportError('UNREADABLE', `${path}: there is no tensor ${name}`);
  let last: { readonly name: string; readonly values: TensorValues } | null = null;
  return {
    config,
    async read(name) {
      if (last?.name === name) return last.values;
      const spec = contract.get(name)!;
      const determined = bufferValues(config, spec);
      if (determined !== null) return determined;
      const names = storedIn(name);
      const isTransposed = names[0] !== name && spec.isRouted;
      last = null;
      const size = spec.shape.reduce((product, dim) => product * dim, 1);
      const values = isTransposed ? await stack(file, names, spec.shape) : await file.read(names[0]!);
      if (values.length !== size)
        throw new ExportError('UNREADABLE', `${path}: ${names[0]} has ${values.length} numbers, expected ${size}`);
      last = { name, values };
      return values;
    },
    close: async () => await file.close(),
  };
}

/** Output-major matrices of each expert, one beside the other, input-major. */
async function stack(file: OpenGguf, names: readonly string[], shape: readonly number[]): Promise<Float32Array> {
  const [experts, inputs, columns] = shape as readonly [number, number, number];
  const out = new Float32Array(experts * inputs * columns);
  const outputs = columns / names.length;
  for (const [at, name] of names.entries()) {
    const values = await file.read(name);
    if (values.length !== experts * inputs * outputs)
      throw new ExportError(
        'UNREADABLE',
        `${name} has ${values.length} numbers, expected ${experts * inputs * outputs}`,
      );
    for (let e = 0; e < experts; e++)
      for (let o = 0; o < outputs; o++)
        for (let i = 0; i < inputs; i++)
          out[(e * inputs + i) * columns + at * outputs + o] = values[(e * outputs + o) * inputs + i]!;
  }
  return out;
}

/** The inverse of `bailingMoe2.metadata`. Positions are rotated everywhere there. */
function bailingConfig(path: string, metadata: ReadonlyMap<string, GgufField>): QuasarLongConfig {
  const number = (key: string, otherwise?: number): number => {
    const value = metadata.get(`bailingmoe2.${key}`) ?? otherwise;
    if (typeof value !== 'number') throw new ExportError('UNREADABLE', `${path}: bailingmoe2.${key} is missing`);
    return value;
  };
  const token = (role: string): number | null => {
    const id = metadata.get(`tokenizer.ggml.${role}_token_id`);
    return typeof id === 'number' ? id : null;
  };
  const tokens = metadata.get('tokenizer.ggml.tokens');
  if (!Array.isArray(tokens)) throw new ExportError('UNREADABLE', `${path}: tokenizer.ggml.tokens is missing`);
  const headDim = number('attention.key_length');
  const groups = number('expert_group_count', 1);
  return parseConfig({
    model_type: 'quasar_long',
    vocab_size: tokens.length,
    hidden_size: number('embedding_length'),
    intermediate_size: number('feed_forward_length'),
    num_hidden_layers: number('block_count') - number('nextn_predict_layers', 0),
    num_attention_heads: number('attention.head_count'),
    num_key_value_heads: number('attention.head_count_kv'),
    head_dim: headDim,
    // A single of these: files hold float32, configs the decimal number that was meant.
    rms_norm_eps: Number(number('attention.layer_norm_rms_epsilon').toPrecision(7)),
    rope_theta: Number(number('rope.freq_base').toPrecision(7)),
    partial_rotary_factor: number('rope.dimension_count') / headDim,
    use_nope: false,
    max_position_embeddings: number('context_length'),
    first_k_dense_replace: number('leading_dense_block_count', 0),
    num_experts: number('expert_count'),
    num_experts_per_tok: number('expert_used_count'),
    num_shared_experts: number('expert_shared_count'),
    moe_intermediate_size: number('expert_feed_forward_length'),
    routed_scaling_factor: Number(number('expert_weights_scale', 1).toPrecision(7)),
    n_group: groups,
    topk_group: number('expert_group_used_count', groups),
    bos_token_id: token('bos'),
    eos_token_id: token('eos'),
    pad_token_id: token('padding') ?? token('eos'),
    hybrid_attention_layers: [],
  });
}
