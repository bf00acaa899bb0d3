/** @file One decoder layer: attention and feed-forward, each on the normalised residual stream and added to it. */
import type { Tensor } from '../../engine/graph.ts';
import { branchesByLayer, isMoeLayer } from './config.ts';
import { hybridAttention } from './hybrid.ts';
import { mlp } from './mlp.ts';
import { moe } from './moe.ts';
import type { Scope } from './scope.ts';

/** x (rows, hidden) → (rows, hidden). Reads everything else from the scope, so that it can be built twice. */
export function decoderLayer(scope: Scope, x: Tensor, layer: number): Tensor {
  const { g, config } = scope;
  const prefix = `model.layers.${layer}`;
  const norm = (y: Tensor, name: string) => g.rmsNorm(y, scope.param(`${prefix}.${name}.weight`), config.rms_norm_eps);
  const branch = branchesByLayer(config)[layer] ?? null;
  const mixed = g.add(x, hybridAttention(scope, norm(x, 'input_layernorm'), layer, branch));
  const feed = isMoeLayer(config, layer) ? moe : mlp;
  return g.add(mixed, feed(scope, norm(mixed, 'post_attention_layernorm'), `${prefix}.mlp`));
}
