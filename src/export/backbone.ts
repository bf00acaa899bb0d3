/**
 * @file The softmax backbone of a hybrid model, for programs that know no other: the model without its linear branches, and
 * how far its predictions are from the whole model's on text. It computes something else; what it costs is measured.
 */
import { parseConfig, type QuasarLongConfig, toConfigJson } from '../model/quasar-long/config.ts';
import { buildContract } from '../model/quasar-long/contract.ts';
import { openDecoder } from '../model/quasar-long/generate.ts';
import type { Params } from '../model/quasar-long/init.ts';
import { assert } from '../util/errors.ts';

export interface BackboneGap {
  /** Mean of KL(whole model || backbone), nats a token. */
  readonly kl: number;
  /** Mean loss of the backbone minus that of the whole model, nats a token. */
  readonly lossGap: number;
  readonly loss: number;
  /** Predictions that the means are over. */
  readonly tokens: number;
}

/** The same model without branches, up to where positions are rotated. */
export function backboneConfig(config: QuasarLongConfig): QuasarLongConfig {
  const positions = config.use_nope
    ? Math.min(config.max_position_embeddings, config.nope_after_position)
    : config.max_position_embeddings;
  return parseConfig({ ...toConfigJson(config), hybrid_attention_layers: [], max_position_embeddings: positions });
}

export function backboneParams(backbone: QuasarLongConfig, params: Params): Params {
  return new Map(buildContract(backbone).map(({ name }) => [name, params.get(name)!]));
}

/** Each sequence from its own start. `threads`: of the engine. */
export async function measureBackbone(
  config: QuasarLongConfig,
  params: Params,
  sequences: readonly (readonly number[])[],
  options: { readonly threads?: number; readonly signal?: AbortSignal } = {},
): Promise<BackboneGap> {
  const smaller = backboneConfig(config);
  const whole = await openDecoder(config, params, options);
  const backbone = await openDecoder(smaller, backboneParams(smaller, params), options);
  const sum = { kl: 0, whole: 0, backbone: 0, tokens: 0 };
  try {
    for (const ids of sequences) {
      options.signal?.throwIfAborted();
      assert(ids.length >= 2, 'a sequence of one token predicts nothing');
      whole.reset();
      backbone.reset();
      addSequence(sum, ids, await whole.feed(ids), await backbone.feed(ids), config.vocab_size);
    }
  } finally {
    await whole.release();
    await backbone.release();
  }
  return {
    kl: sum.kl / sum.tokens,
    lossGap: (sum.backbone - sum.whole) / sum.tokens,
    loss: sum.whole / sum.tokens,
    tokens: sum.tokens,
  };
}

function addSequence(
  sum: { kl: number; whole: number; backbone: number; tokens: number },
  ids: readonly number[],
  wholeLogits: Float32Array,
  backboneLogits: Float32Array,
  vocab: number,
): void {
  for (let t = 0; t + 1 < ids.length; t++) {
    const p = logProbabilities(wholeLogits.subarray(t * vocab, (t + 1) * vocab));
    const q = logProbabilities(backboneLogits.subarray(t * vocab, (t + 1) * vocab));
    for (let v = 0; v < vocab; v++) sum.kl += Math.exp(p[v]!) * (p[v]! - q[v]!);
    sum.whole -= p[ids[t + 1]!]!;
    sum.backbone -= q[ids[t + 1]!]!;
    sum.tokens++;
  }
}

/** In float64. */
export function logProbabilities(logits: Float32Array): Float64Array {
  const top = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  let total = 0;
  for (const logit of logits) total += Math.exp(logit - top);
  const shift = top + Math.log(total);
  return Float64Array.from(logits, (logit) => logit - shift);
}
