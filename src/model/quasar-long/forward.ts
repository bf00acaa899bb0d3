/**
 * @file The whole network as a graph: embedding, layers, final norm, logits. Static batch and time. Rows are single
 * documents, or packed documents whose boundaries `position_ids` carry.
 */
import type { GraphBuilder, Tensor } from '../../engine/graph.ts';
import type { QuasarLongConfig } from './config.ts';
import { decoderLayer } from './layer.ts';
import { findDocuments } from './packing.ts';
import { buildRotation } from './rope.ts';
import { type Carry, linear, paramReader, type Scope } from './scope.ts';

export interface ForwardOptions {
  readonly batch: number;
  readonly time: number;
  /** Rows hold several documents. Otherwise positions count from 0 and nothing is masked but the future. */
  readonly packed: boolean;
  /** Tokens of one chunk of the recurrent branches; 32 is the fastest measured that is also safe. */
  readonly chunk?: number;
  readonly carry?: Carry;
}

export interface Forward {
  readonly scope: Scope;
  /** (batch, time), i64. */
  readonly inputIds: Tensor;
  /** (rows, hidden): the output of the final norm. */
  readonly hidden: Tensor;
  /** Expert loads by the name of the selection bias they balance: (experts) f32, assignments of this batch. */
  readonly loads: ReadonlyMap<string, Tensor>;
}

/** Declares inputs `input_ids` and `position_ids` ((batch, time), i64) and the params that the config needs. */
export function forward(g: GraphBuilder, config: QuasarLongConfig, options: ForwardOptions): Forward {
  const { batch, time, packed, chunk = 32, carry = null } = options;
  const inputIds = g.input('input_ids', [batch, time], 'i64');
  const fed = g.input('position_ids', [batch, time], 'i64');
  const positions = packed || carry ? fed : g.expand(g.range(time), [batch, time]);
  const loads = new Map<string, Tensor>();
  const scope: Scope = {
    g,
    config,
    batch,
    time,
    chunk,
    positions,
    rotation: buildRotation(g, config, positions),
    documents: packed ? findDocuments(g, positions) : null,
    carry,
    param: paramReader(g, config),
    report: (name, tensor) => void loads.set(name, tensor),
  };
  let x = embed(scope, inputIds);
  for (let layer = 0; layer < config.num_hidden_layers; layer++) x = decoderLayer(scope, x, layer);
  const hidden = g.rmsNorm(x, scope.param('model.norm.weight'), config.rms_norm_eps);
  return { scope, inputIds, hidden, loads };
}

/** (rows, hidden). The padding token's row gets no gradient. */
function embed(scope: Scope, ids: Tensor): Tensor {
  const { g, config, batch, time } = scope;
  const flat = g.reshape(ids, [batch * time]);
  const rows = g.gather(scope.param('model.word_embeddings.weight'), flat);
  if (config.pad_token_id === null) return rows;
  const isPadding = g.reshape(g.equal(flat, config.pad_token_id), [batch * time, 1]);
  return g.where(isPadding, g.stopGradient(rows), rows);
}

/** (rows, vocab). */
export function logits(scope: Scope, hidden: Tensor): Tensor {
  return linear(scope, hidden, 'lm_head');
}
