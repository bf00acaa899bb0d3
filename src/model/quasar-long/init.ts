/**
 * @file Initial values of a model trained from scratch. As the reference initialises, except where its rule would leave
 * parts dead: routed experts are N(0, initializer_range²) (the reference leaves them zero, which is a fixed point), and
 * the quasar branch's A_log is ln U(0.1, 2) (the reference's U(1, 16) saturates the write strength at its clamp).
 * Engram's hash seeds are drawn like a parameter's values.
 * Each tensor draws from a stream of its own, seeded by (seed, name): neither order nor other tensors matter.
 */

import { ngramFactor } from '../../engine/primitives.ts';
import { elementCount } from '../../tensor/contract.ts';
import { assert } from '../../util/errors.ts';
import { Rng } from '../../util/rng.ts';
import { type QuasarLongConfig, rotaryWidth } from './config.ts';
import { buildContract, type TensorSpec } from './contract.ts';

/** Values of one tensor, row-major: int64 where its dtype is I64. */
export type TensorValues = Float32Array | BigInt64Array;

/** Named tensors of the shapes and dtypes in the contract. */
export type Params = ReadonlyMap<string, TensorValues>;

/** A tensor of dtype F32. */
export function floatsOf(params: Params, name: string): Float32Array {
  const values = params.get(name);
  assert(values instanceof Float32Array, `${name} is not among the float32 tensors`);
  return values;
}

type Fill = (rng: Rng) => number;

/** Every tensor of the contract, buffers included. The same seed gives the same bits on every machine. */
export function initParams(config: QuasarLongConfig, seed: number | string): Map<string, TensorValues> {
  const params = new Map<string, TensorValues>();
  for (const spec of buildContract(config)) params.set(spec.name, initTensor(config, spec, seed));
  return params;
}

/** One tensor's initial values. */
export function initTensor(config: QuasarLongConfig, spec: TensorSpec, seed: number | string): TensorValues {
  const determined = bufferValues(config, spec);
  if (determined !== null) return determined;
  const rng = new Rng(`${seed}:${spec.name}`);
  // The hash seeds: [1, 2^31 − 1).
  if (spec.dtype === 'I64')
    return BigInt64Array.from({ length: elementCount(spec.shape) }, () => BigInt(1 + rng.below(2 ** 31 - 2)));
  const values = new Float32Array(elementCount(spec.shape));
  const fill = fillFor(config, spec);
  for (let i = 0; i < values.length; i++) values[i] = fill(rng);
  // padding_idx: this row is zero and gets no gradient.
  if (spec.name === 'model.word_embeddings.weight' && config.pad_token_id !== null)
    values.fill(0, config.pad_token_id * config.hidden_size, (config.pad_token_id + 1) * config.hidden_size);
  return values;
}

/** Values of a buffer that the config alone determines; null for all other tensors. */
export function bufferValues(config: QuasarLongConfig, { name }: Pick<TensorSpec, 'name'>): TensorValues | null {
  if (name === 'model.rotary_emb.inv_freq') return Float32Array.from(inverseFrequencies(config));
  const [, layer, part] = /^model\.layers\.(\d+)\.(.*)$/.exec(name) ?? [];
  if (part === 'attention.gla_attention.slope') return Float32Array.from(glaLogDecays(config, Number(layer)));
  if (part === 'engram.ngram_orders_buf') return BigInt64Array.from(config.engram_ngram_orders, BigInt);
  return part === 'engram.token_map' ? canonicalIds(config.vocab_size) : null;
}

/** token_map[j] = (j·2654435761) mod ⌊0.77·V⌋: different tokens may share a canonical id. */
function canonicalIds(vocab: number): BigInt64Array {
  const count = BigInt(Math.max(1, Math.floor(0.77 * vocab)));
  return BigInt64Array.from({ length: vocab }, (_, id) => (BigInt(id) * BigInt(ngramFactor)) % count);
}

/** ω_j = rope_theta^(−2j/r), j < r/2. */
export function inverseFrequencies(config: QuasarLongConfig): readonly number[] {
  const r = rotaryWidth(config);
  return Array.from({ length: r / 2 }, (_, j) => config.rope_theta ** ((-2 * j) / r));
}

/** g_h = −s_h·(1 − max(i−1, 0)/(L−1) + 1e-5) for layer i: ALiBi slopes, weaker in deeper layers. */
export function glaLogDecays(config: QuasarLongConfig, layer: number): readonly number[] {
  const last = config.num_hidden_layers - 1;
  const factor = last === 0 ? 1 : 1 - Math.max(layer - 1, 0) / last + 1e-5;
  return alibiSlopes(config.num_attention_heads).map((slope) => -slope * factor);
}

function alibiSlopes(heads: number): readonly number[] {
  const powerOfTwo = 2 ** Math.floor(Math.log2(heads));
  const geometric = (count: number) => Array.from({ length: count }, (_, i) => 2 ** ((-8 * (i + 1)) / count));
  const evenIndexed = geometric(2 * powerOfTwo).filter((_, i) => i % 2 === 0);
  return [...geometric(powerOfTwo), ...evenIndexed.slice(0, heads - powerOfTwo)];
}

function fillFor(config: QuasarLongConfig, spec: TensorSpec): Fill {
  const part = spec.name.replace(/^model\.layers\.\d+\./, '');
  if (part.startsWith('engram.')) return engramFill(config, part);
  const uniform = (bound: number) => (rng: Rng) => (2 * rng.uniform() - 1) * bound;
  const constant = (value: number) => () => value;
  const logit = (share: number) => {
    const inside = Math.min(Math.max(share, 1e-6), 1 - 1e-6);
    return constant(Math.log(inside / (1 - inside)));
  };
  if (part.endsWith('norm.weight') || part.endsWith('_channel_gain')) return constant(1);
  if (part.endsWith('.replace_alpha_raw')) return constant(config.hybrid_alpha_init);
  if (part.endsWith('.branch_global_output_gain')) return constant(config.hybrid_global_output_gain_init);
  if (part.endsWith('.branch_output_gain')) return constant(config.hybrid_output_gain_init);
  if (/^(injection_gate|parcae_decay_raw|parcae_anchor_gate)$/.test(part)) return constant(-6.907);
  if (part.endsWith('.branch_local_window_mix_logit')) return logit(config.hybrid_local_window_fraction);
  if (/branch_mix_logits$|adapter_up\.weight$|expert_bias$/.test(part)) return constant(0);
  if (part === 'attention.quasar_attention.A_log') return (rng) => Math.log(0.1 + 1.9 * rng.uniform());
  if (part === 'attention.raven_attention.A_log') return (rng) => Math.log(1 + 15 * rng.uniform());
  if (part === 'attention.raven_attention.dt_bias') return inverseSoftplusOfLogUniform;
  if (part.endsWith('dt_bias') || (part.endsWith('.bias') && !part.includes('quasar_attention'))) return constant(0);
  // PyTorch's default for a linear layer: ±1/√(inputs), weight and bias alike.
  if (part.endsWith('.g_proj.1.bias')) return uniform(1 / Math.sqrt(config.head_dim));
  if (/^attention\.(quasar|raven|gla)_attention\.|adapter_down|^mlp\.gate\.weight$/.test(part))
    return uniform(1 / Math.sqrt(elementCount(spec.shape.slice(1))));
  return (rng) => rng.normal() * config.initializer_range;
}

/** The output starts at zero, so that the memory changes nothing before it has learned. */
function engramFill(config: QuasarLongConfig, part: string): Fill {
  if (part.endsWith('norm.weight')) return () => 1;
  if (/\.(out_proj|conv)\.weight$/.test(part)) return () => 0;
  const deviation = part.endsWith('.embed_tables') ? 0.01 : 0.5 / Math.sqrt(config.hidden_size);
  return (rng) => rng.normal() * deviation;
}

/** dt = exp(U(ln 0.001, ln 0.1)); the bias is softplus⁻¹(dt). */
function inverseSoftplusOfLogUniform(rng: Rng): number {
  const dt = Math.exp(Math.log(0.001) + rng.uniform() * Math.log(100));
  return dt + Math.log(-Math.expm1(-dt));
}
