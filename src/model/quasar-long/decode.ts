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
  /** Output `logits` (batch, time, vocab); feeds as for a forward graph, and the states. */
  readonly graph: Graph;
  /** The size 'past' is the number of tokens before; all states start as zeros, with past = 0. */
  readonly states: readonly { readonly name: string; readonly shape: Shape }[];
}

export function buildDecodeGraph(
  config: QuasarLongConfig,
  { batch, time }: { readonly batch: number; readonly time: number },
): DecodeGraph {
  const g = new GraphBuilder();
  const states: { name: string; shape: Shape }[] = [];
  const carry = {
    read(name: string, shape: Shape) {
      states.push({ name, shape });
      return g.input(`state:${name}`, shape);
    },
    write: (name: string, tensor: Parameters<typeof g.output>[1]) => void g.output(`next:${name}`, tensor),
  };
  // One chunk: no filling, which would decay the states.
  const run = forward(g, config, { batch, time, packed: false, chunk: time, carry });
  g.output('logits', g.reshape(logits(run.scope, run.hidden), [batch, time, config.vocab_size]));
  return { graph: g.build(), states };
}
