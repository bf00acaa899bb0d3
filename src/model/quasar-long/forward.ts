/**
 * @file The whole network as a graph: embedding, layers, final norm, logits. Static batch and time. Rows are single
 * documents, or packed documents whose boundaries `position_ids` carry.
 */
import type { GraphBuilder, Tensor } from '../../engine/graph.ts';
import type { QuasarLongConfig } from './config.ts';
import { embed } from './embedding.ts';
import { decoderLayer } from './layer.ts';
import { carryOfLoop } from './loops.ts';
import { findDocuments } from './packing.ts';
import { buildRotation } from './rope.ts';
import { type Carry, paramReader, type RoutingReport, type Scope } from './scope.ts';

export interface ForwardOptions {
  readonly batch: number;
  readonly time: number;
  /** Rows hold several documents. Otherwise positions count from 0 and nothing is masked but the future. */
  readonly packed: boolean;
  /** Tokens of one chunk of the recurrent branches; 32 is the fastest measured that is also safe. */
  readonly chunk?: number;
  readonly carry?: Carry;
  /** Computes each layer again in the backward pass: only its input is kept. */
  readonly recomputeLayers?: boolean;
  /** For inference on the CPU in a session whose params are constants: one operator for a layer's routed experts. */
  readonly fusesExperts?: boolean;
}

export interface Forward {
  readonly scope: Scope;
  /** (rows, hidden): the output of the final norm. */
  readonly hidden: Tensor;
  /** By the name of each router's selection bias, summed over all loops. */
  readonly routing: ReadonlyMap<string, RoutingReport>;
}

/** Declares inputs `input_ids` and `position_ids` ((batch, time), i64) and the params that the config needs. */
export function forward(g: GraphBuilder, config: QuasarLongConfig, options: ForwardOptions): Forward {
  const { batch, time, packed, chunk = 32, carry = null, recomputeLayers = false, fusesExperts = false } = options;
  const inputIds = g.input('input_ids', [batch, time], 'i64');
  const fed = g.input('position_ids', [batch, time], 'i64');
  const positions = packed || carry ? fed : g.expand(g.range(time), [batch, time]);
  const routing = new Map<string, RoutingReport>();
  const scope: Scope = {
    g,
    config,
    batch,
    time,
    chunk,
    inputIds,
    positions,
    rotation: buildRotation(g, config, positions),
    documents: packed ? findDocuments(g, positions) : null,
    carry,
    fusesExperts,
    param: paramReader(g, config),
    report: (name, { load, shares }) => {
      const sum = routing.get(name);
      routing.set(name, sum ? { load: g.add(sum.load, load), shares: g.add(sum.shares, shares) } : { load, shares });
    },
  };
  const anchor = embed(scope, inputIds);
  let x = anchor;
  for (let loop = 0; loop < config.num_loops; loop++) {
    const ofLoop = { ...scope, carry: carryOfLoop(carry, loop) };
    for (let layer = 0; layer < config.num_hidden_layers; layer++) {
      const input = x;
      const build = () => decoderLayer(ofLoop, input, anchor, layer);
      x = recomputeLayers ? g.recomputed(build) : build();
    }
  }
  const hidden = g.rmsNorm(x, scope.param('model.norm.weight'), config.rms_norm_eps);
  return { scope, hidden, routing };
}
