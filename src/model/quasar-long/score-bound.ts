/**
 * @file How large an attention score can be under given params. With query-key norm a query has at most the length
 * √D·max|w_q|, a key √D·max|w_k|, and rotation keeps lengths: |q·k|/√D ≤ √D·max|w_q|·max|w_k|.
 */
import type { QuasarLongConfig } from './config.ts';
import { floatsOf, type Params } from './init.ts';

/** e^40 summed over 2^24 keys is far below float32's end, e^-40 far above its smallest normal number. */
const largestSmallScore = 40;

/** True where softmax needs no maximum: e^score of every score that the params allow, and sums of it, are exact enough. */
export function areScoresSmall(config: QuasarLongConfig, params: Params): boolean {
  return scoreBound(config, params) <= largestSmallScore;
}

/** Over all layers; Infinity without query-key norm, or where a weight is not finite. */
export function scoreBound(config: QuasarLongConfig, params: Params): number {
  if (!config.use_qk_norm) return Infinity;
  let bound = 0;
  for (const query of params.keys()) {
    if (!query.endsWith('.query_layernorm.weight')) continue;
    const key = query.replace(/query_layernorm\.weight$/, 'key_layernorm.weight');
    const product = largest(floatsOf(params, query)) * largest(floatsOf(params, key));
    bound = Math.max(bound, Number.isFinite(product) ? product * Math.sqrt(config.head_dim) : Infinity);
  }
  return bound;
}

const largest = (weights: Float32Array): number => weights.reduce((max, w) => Math.max(max, Math.abs(w)), 0);
