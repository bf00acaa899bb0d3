/**
 * @file Run as a process of its own, for without an adapter the driver may end it: one training step of preset tiny on
 * WebGPU (nano has the same operators and takes longer to compile). Prints where its operators ran as JSON, or exits with 3 where there is no adapter.
 */
import { EngineError } from '../../engine/errors.ts';
import { observePlacement } from '../../engine/placement.ts';
import { feedParams, feedTokens } from '../../model/quasar-long/feeds.ts';
import { buildLossGraph } from '../../model/quasar-long/graphs.ts';
import { initParams } from '../../model/quasar-long/init.ts';
import { presetConfig } from '../../model/quasar-long/presets.ts';

const config = presetConfig('tiny');
const seqLen = 32;
const { graph } = buildLossGraph(config, { batch: 1, seqLen, packed: true, gradients: true });
const shape = [1, seqLen] as const;
const counting = feedTokens(
  Array.from({ length: seqLen }, (_, i) => i),
  shape,
);
const feeds = {
  ...feedParams(config, initParams(config, 'webgpu probe')),
  ...{ input_ids: counting, position_ids: counting, labels: counting },
};
try {
  console.log(JSON.stringify(await observePlacement(graph, feeds, 'webgpu')));
} catch (error) {
  if (!(error instanceof EngineError)) throw error;
  console.error(error.message);
  process.exitCode = error.code === 'NO_DEVICE' ? 3 : 1;
}
