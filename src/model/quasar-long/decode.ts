/**
 * @file The graph of cached decoding: `time` tokens of each row after any number of earlier ones. Keys, values and the
 * branches' states come in as `state:NAME` and go out as `next:NAME`; with time = 1 the chunk forms are the recurrences.
 */
import { type Graph, GraphBuilder } from '../../engine/graph.ts';
import type { Shape } from '../../tensor/shape.ts';
import type { QuasarLongConfig } from './config.ts';
import { logits } from './embedding.ts';
import { forward } from './forward.ts';

export interface DecodeGraph {
  /** Output `logits` (batch, time or 1, vocab); feeds as for a forward graph, and the states. */
  readonly graph: Graph;
  /** The size 'past' is the number of tokens before; all states start as zeros, with past = 0. */
  readonly states: readonly { readonly name: string; readonly shape: Shape }[];
}

/** Tokens of a chunk of the recurrent branches where several make up a run. */
const prefillChunk = 32;

export interface DecodeGraphOptions {
  readonly batch: number;
  readonly time: number;
  /** Logits of the last token alone: the head costs more than a small model's layers. */
  readonly lastOnly?: boolean;
}

export function buildDecodeGraph(config: QuasarLongConfig, options: DecodeGraphOptions): DecodeGraph {
  const { batch, time, lastOnly = false } = options;
  const g = new GraphBuilder();
  const states: { name: string; shape: Shape }[] = [];
  const carry = {
    read(name: string, shape: Shape) {
      states.push({ name, shape });
      return g.input(`state:${name}`, shape);
    },
    write: (name: string, tensor: Parameters<typeof g.output>[1]) => void g.output(`next:${name}`, tensor),
  };
  // Chunks without filling, which would decay the states.
  const chunk = time % prefillChunk === 0 ? prefillChunk : time;
  const run = forward(g, config, { batch, time, packed: false, chunk, carry });
  const rows = lastOnly ? 1 : time;
  const hidden = g.slice(g.reshape(run.hidden, [batch, time, config.hidden_size]), 1, time - rows);
  const table = logits(run.scope, g.reshape(hidden, [batch * rows, config.hidden_size]));
  g.output('logits', g.reshape(table, [batch, rows, config.vocab_size]));
  return { graph: g.build(), states };
}
