/**
 * @file Memory of one sequence at a context length (quasar_long, section 15): keys and values, which grow with every
 * token, and the states of branches, convolutions and Engram, which do not. Computed from the config alone.
 */
import { branchesByLayer, dropsSoftmax, localWindow, type QuasarLongConfig } from './config.ts';

export interface InferenceMemory {
  /** Keys and values of one token in all layers and loops, in bfloat16. */
  readonly cacheBytesPerToken: number;
  /** The same for the whole context. */
  readonly cacheBytes: number;
  /** Recurrent states in float32, by branch. */
  readonly stateBytes: Readonly<Record<'quasar' | 'raven' | 'gla', number>>;
  /** Last frames of short convolutions, and Engram's tokens and frames, in float32. */
  readonly frameBytes: number;
  readonly totalBytes: number;
}

const bf16Bytes = 2;
const f32Bytes = 4;

/** Of one sequence of `contextTokens` tokens. Every loop has a cache and states of its own. Exact up to 2^53. */
export function inferenceMemory(config: QuasarLongConfig, contextTokens: number): InferenceMemory {
  const { num_attention_heads: H, num_key_value_heads: KV, head_dim: D, hidden_size: h, num_loops: loops } = config;
  const stateNumbers = { quasar: H * D * D, raven: 2 * h * config.hybrid_raven_slots, gla: H * D * D };
  const stateBytes = { quasar: 0, raven: 0, gla: 0 };
  let cachedLayers = 0;
  let frames = 0;
  branchesByLayer(config).forEach((branches, layer) => {
    const isReplaced = dropsSoftmax(config) && config.hybrid_attention_layers.includes(layer);
    if (!isReplaced || localWindow(config, layer) > 0) cachedLayers++;
    for (const branch of branches) stateBytes[branch] += loops * f32Bytes * stateNumbers[branch];
    if (config.hybrid_use_short_conv && branches.includes('quasar')) frames += 3 * 3 * H * D;
    if (config.engram_layers.includes(layer))
      frames += 9 * config.engram_dim + Math.max(...config.engram_ngram_orders) - 1;
  });
  const cacheBytesPerToken = loops * cachedLayers * 2 * KV * D * bf16Bytes;
  const cacheBytes = cacheBytesPerToken * contextTokens;
  const frameBytes = loops * frames * f32Bytes;
  const totalBytes = cacheBytes + stateBytes.quasar + stateBytes.raven + stateBytes.gla + frameBytes;
  return { cacheBytesPerToken, cacheBytes, stateBytes, frameBytes, totalBytes };
}
