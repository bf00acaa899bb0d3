/** @file Gradient checkpointing: layers that are computed again give the same bits, and keep less for the backward pass. */
import { describe, expect, it } from 'vitest';
import type { Graph, Node } from '../../engine/graph.ts';
import { openSession } from '../../engine/session.ts';
import { sizeOfShape } from '../../tensor/shape.ts';
import { Rng } from '../../util/rng.ts';
import { feedParams, feedTokens } from './feeds.ts';
import { buildLossGraph } from './graphs.ts';
import { initParams } from './init.ts';
import { presetConfig } from './presets.ts';

const variants: [string, Record<string, unknown>][] = [
  ['one branch a layer', {}],
  [
    'loops, Engram and all branches',
    {
      num_loops: 2,
      use_looped_injection: true,
      hybrid_branch_layout: 'mixed',
      engram_layers: [1],
      engram_slots: 64,
      engram_dim: 32,
    },
  ],
];

describe.each(variants)('recomputed layers: %s', (_name, overrides) => {
  const config = presetConfig('tiny', { vocab_size: 64, ...overrides });
  const shape = [2, 45] as const;
  const graphOf = (recomputeLayers: boolean) =>
    buildLossGraph(config, { batch: 2, seqLen: 45, packed: true, gradients: true, recomputeLayers });

  it('give the same loss, loads and gradients, bit for bit', async () => {
    const rng = new Rng(9);
    const ids = feedTokens(
      Array.from({ length: 90 }, () => 1 + rng.below(63)),
      shape,
    );
    const positions = feedTokens(
      Array.from({ length: 90 }, (_, i) => (i % 45) % 17),
      shape,
    );
    const feeds = {
      ...feedParams(config, initParams(config, 3)),
      input_ids: ids,
      labels: ids,
      position_ids: positions,
    };
    const run = async (recomputeLayers: boolean) => {
      const session = await openSession(graphOf(recomputeLayers).graph);
      const results = await session.run(feeds);
      await session.release();
      return results;
    };
    const [kept, again] = [await run(false), await run(true)];
    expect(Object.keys(again)).toEqual(Object.keys(kept));
    for (const name of Object.keys(kept)) expect(again[name]!.data, name).toEqual(kept[name]!.data);
  });

  it('keep less from the forward for the backward pass', () => {
    const [kept, again] = [graphOf(false).graph, graphOf(true).graph].map(keptNumbers) as [number, number];
    expect(again).toBeLessThan(kept / 3);
  });
});

/** Numbers of the forward pass's results that are read after the loss is known. */
function keptNumbers(graph: Graph): number {
  const lossId = graph.outputs.get('loss')!.node.id;
  const later = graph.nodes.filter((node: Node) => node.id > lossId);
  const read = new Set(
    later.flatMap((node) => node.inputs).filter(({ node }) => node.id <= lossId && node.inputs.length > 0),
  );
  return [...read].reduce((sum, tensor) => sum + sizeOfShape(tensor.shape as readonly number[]), 0);
}
