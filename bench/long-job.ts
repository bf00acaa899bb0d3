/** @file One measurement of the long-context benchmark, in a process of its own so that its peak memory is its own. */
import { openDecoder } from '../src/model/quasar-long/generate.ts';
import { initParams } from '../src/model/quasar-long/init.ts';
import { type PresetName, presetConfig } from '../src/model/quasar-long/presets.ts';
import { InnerLoop } from '../src/training/inner-loop.ts';
import { allocateModel, initialise } from '../src/training/model-state.ts';
import { AdamW, traitsFromContract } from '../src/training/optimizer.ts';
import { Rng } from '../src/util/rng.ts';

export interface LongJob {
  readonly kind: 'prefill' | 'train';
  readonly preset: PresetName;
  readonly tokens: number;
  readonly threads: number;
}

export interface LongResult {
  /** Building and opening the session; of a prefill part of `ms`. */
  readonly openMs: number;
  /** The whole reading, or each training step. */
  readonly ms: readonly number[];
  /** Of all threads, over `ms`. */
  readonly cpuMs: number;
  readonly peakRssBytes: number;
}

const recipe = {
  ...{ learningRate: 1e-4, beta1: 0.9, beta2: 0.95, epsilon: 1e-8 },
  ...{ weightDecay: 0.1, clipNorm: 1, selectionBiasRate: 1e-3 },
};

async function prefill({ preset, tokens, threads }: LongJob): Promise<Omit<LongResult, 'peakRssBytes'>> {
  const config = presetConfig(preset);
  const decoder = await openDecoder(config, initParams(config, 'bench'), { threads });
  const rng = new Rng('long');
  const ids = Array.from({ length: tokens }, () => 1 + rng.below(config.vocab_size - 1));
  const result = await timed(() => decoder.feedLast(ids));
  await decoder.release();
  return { openMs: 0, ms: [result.ms], cpuMs: result.cpuMs };
}

/** One row, one document, three steps of which the first warms up; gradient checkpointing. */
async function train({ preset, tokens, threads }: LongJob): Promise<Omit<LongResult, 'peakRssBytes'>> {
  const model = allocateModel(presetConfig(preset), 'bench', { extraParamBuffers: 2 });
  initialise(model, 'bench');
  const optimizer = new AdamW(model.params, model.gradients, {
    ...recipe,
    traitsOf: traitsFromContract(model.contract),
  });
  const startedAt = performance.now();
  const { selectionBiasRate, learningRate } = recipe;
  const options = { batch: 1, seqLen: tokens, threads, recomputeLayers: true, selectionBiasRate };
  const loop = await InnerLoop.open(model, optimizer, options);
  const openMs = performance.now() - startedAt;
  const rng = new Rng('long');
  const inputIds = BigInt64Array.from({ length: tokens }, () => BigInt(1 + rng.below(model.config.vocab_size - 1)));
  const sequence = { inputIds, positionIds: inputIds.map((_, i) => BigInt(i)), labels: inputIds };
  await loop.step([sequence], learningRate);
  const steps = [];
  for (let i = 0; i < 2; i++) steps.push(await timed(() => loop.step([sequence], learningRate)));
  await loop.close();
  return { openMs, ms: steps.map(({ ms }) => ms), cpuMs: steps.reduce((sum, { cpuMs }) => sum + cpuMs, 0) };
}

async function timed(work: () => Promise<unknown>): Promise<{ ms: number; cpuMs: number }> {
  const [startedAt, before] = [performance.now(), process.cpuUsage()];
  await work();
  const { user, system } = process.cpuUsage(before);
  return { ms: performance.now() - startedAt, cpuMs: (user + system) / 1000 };
}

async function main(text: string): Promise<void> {
  const job = JSON.parse(text) as LongJob;
  const measured = await (job.kind === 'prefill' ? prefill(job) : train(job));
  const result: LongResult = { ...measured, peakRssBytes: process.resourceUsage().maxRSS * 1024 };
  console.log(JSON.stringify(result));
}

await main(process.argv[2]!);
