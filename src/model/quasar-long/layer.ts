/**
 * @file One decoder layer: what loops and Engram add first, then attention and feed-forward, each on the normalised
 * residual stream and added to it.
 */
import type { Tensor } from '../../engine/graph.ts';
import { isMoeLayer } from './config.ts';
import { engram } from './engram.ts';
import { hybridAttention } from './hybrid.ts';
import { loopTerms } from './loops.ts';
import { mlp } from './mlp.ts';
import { moe } from './moe.ts';
import type { Scope } from './scope.ts';

/**
 * x and anchor, the embedding output (rows, hidden) → (rows, hidden). Reads everything else from the scope, so that it
 * can be built twice.
 */
export function decoderLayer(scope: Scope, input: Tensor, anchor: Tensor, layer: number): Tensor {
  const { g, config } = scope;
  const prefix = `model.layers.${layer}`;
  const norm = (y: Tensor, name: string) => g.rmsNorm(y, scope.param(`${prefix}.${name}.weight`), config.rms_norm_eps);
  let x = loopTerms(scope, input, anchor, layer);
  if (config.engram_layers.includes(layer)) x = engram(scope, x, layer);
  x = g.add(x, hybridAttention(scope, norm(x, 'input_layernorm'), layer));
  const feed = isMoeLayer(config, layer) ? moe : mlp;
  return g.add(x, feed(scope, norm(x, 'post_attention_layernorm'), `${prefix}.mlp`));
}
