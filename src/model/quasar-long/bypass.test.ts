/** @file Switches that take parts of a hybrid layer away: what is left must be the network without them. */
import { expect, it } from 'vitest';
import { runReference } from '../../engine/reference.ts';
import { feedParams, feedTokens } from './feeds.ts';
import { buildLogitsGraph } from './graphs.ts';
import { floatsOf, initParams } from './init.ts';
import { presetConfig } from './presets.ts';

function logitsOf(overrides: Readonly<Record<string, unknown>>, gate?: number): Float64Array {
  const config = presetConfig('tiny', { vocab_size: 32, ...overrides });
  const params = initParams(config, 6);
  if (gate !== undefined)
    for (const name of params.keys()) if (name.endsWith('.replace_alpha_raw')) floatsOf(params, name)[0] = gate;
  const ids = feedTokens(
    Array.from({ length: 11 }, (_, i) => 1 + ((i * 7) % 31)),
    [1, 11],
  );
  const positions = feedTokens(
    Array.from({ length: 11 }, (_, i) => i),
    [1, 11],
  );
  const graph = buildLogitsGraph(config, { batch: 1, seqLen: 11, packed: false });
  const feeds = { ...feedParams(config, params), input_ids: ids, position_ids: positions };
  return runReference(graph, feeds, { precision: 'f64' }).logits!.data as Float64Array;
}

it('skips the branches where the gate is below −13.8 and hybrid_alpha_zero_bypass is on', () => {
  const plain = logitsOf({ hybrid_attention_layers: [] });
  expect(logitsOf({ hybrid_alpha_zero_bypass: true }, -13.81)).toEqual(plain);
  expect(logitsOf({ hybrid_alpha_zero_bypass: true }, -13.79)).not.toEqual(plain);
  expect(logitsOf({}, -13.81)).not.toEqual(plain);
  expect(logitsOf({ hybrid_alpha_zero_bypass: true }, 1)).toEqual(logitsOf({}, 1));
});

it('keeps the softmax attention of a replacing layer whose branches it skips', () => {
  const replacing = { hybrid_alpha_zero_bypass: true, hybrid_replacement_mode: 'full' };
  expect(logitsOf(replacing, -13.81)).toEqual(logitsOf({ hybrid_attention_layers: [] }));
  expect(logitsOf(replacing, -13.79)).toEqual(logitsOf({ hybrid_replacement_mode: 'full' }));
});

it('sees all keys through a window that is as long as the row', () => {
  const wide = logitsOf({ hybrid_local_window_size: 11 });
  expect(logitsOf({ hybrid_local_window_size: 4000 })).toEqual(wide);
  expect(logitsOf({ hybrid_local_window_size: 10 })).not.toEqual(wide);
});
