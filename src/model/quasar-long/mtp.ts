/**
 * @file Multi-token prediction: layer j (index L + j) predicts one token further ahead than the one before it, from its
 * hidden state and the embedding of the next known token. Rows do not leak into each other. Not used by decoding.
 */
import type { Tensor } from '../../engine/graph.ts';
import { attention } from './attention.ts';
import { embed } from './embedding.ts';
import { moe } from './moe.ts';
import { linear, type Scope } from './scope.ts';

/** hidden (rows, hidden), the output of the final norm → that of each MTP layer, as the head reads it. */
export function mtpLayers(scope: Scope, hidden: Tensor): readonly Tensor[] {
  const { config } = scope;
  const outputs: Tensor[] = [];
  for (let j = 0; j < config.num_nextn_predict_layers; j++) outputs.push(mtpLayer(scope, outputs.at(-1) ?? hidden, j));
  return outputs;
}

function mtpLayer(scope: Scope, hidden: Tensor, j: number): Tensor {
  const { g, config } = scope;
  const prefix = `model.layers.${config.num_hidden_layers + j}`;
  const norm = (y: Tensor, name: string) => g.rmsNorm(y, scope.param(`${prefix}.${name}.weight`), config.rms_norm_eps);
  const next = embed(scope, shiftLeft(scope, scope.inputIds, j + 1, 0));
  let x = linear(scope, g.concat([norm(next, 'enorm'), norm(hidden, 'hnorm')], 1), `${prefix}.eh_proj`);
  x = g.add(x, attention(scope, norm(x, 'input_layernorm'), `${prefix}.attention`));
  x = g.add(x, moe(scope, norm(x, 'post_attention_layernorm'), `${prefix}.mlp`));
  return norm(x, 'final_layernorm');
}

/** Rows of (batch, time) i64 moved `by` places to the left; `fill` takes the places at the end. */
export function shiftLeft({ g }: Pick<Scope, 'g'>, x: Tensor, by: number, fill: number): Tensor {
  const [batch, time] = x.shape as [number, number];
  const kept = Math.max(0, time - by);
  const filling = g.constant(fill, [batch, time - kept], 'i64');
  return kept === 0 ? filling : g.concat([g.slice(x, 1, by), filling], 1);
}
