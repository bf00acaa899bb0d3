/** @file Tokens a second of the inner loop of `accrete train`, preset nano: forward, gradients, clip, AdamW, balancing. */
import { availableParallelism } from 'node:os';
import { presetRecipe } from '../src/cli/recipe-options.ts';
import { openTrainer } from '../src/cli/train/trainer.ts';
import { type Bench, type BenchRow, spread, time } from './measure.ts';

export const innerLoop: Bench = {
  name: 'inner-loop',
  about: 'inner steps of preset nano on the real text',
  async run() {
    const rows: BenchRow[] = [];
    for (const threads of new Set([1, availableParallelism()])) rows.push(await measure(threads));
    return rows;
  },
};

async function measure(threads: number): Promise<BenchRow> {
  const options = {
    preset: 'nano',
    dir: '',
    seed: 0,
    steps: null,
    minutes: null,
    batchFactor: 1,
    batch: null,
    sequenceLength: null,
    recomputeLayers: false,
    recipe: presetRecipe,
    save: null,
    saveEvery: 0,
    resume: null,
    dtype: 'f32',
    json: false,
    device: 'cpu',
  } as const;
  const trainer = await openTrainer({ ...options, threads });
  try {
    const { loop, readSequence } = trainer.parts;
    let position = 0;
    const timing = await time(
      () =>
        loop.step(
          Array.from({ length: trainer.batch }, () => readSequence(position++)),
          1e-3,
        ),
      { runs: 15 },
    );
    const tokens = trainer.batch * trainer.settings.sequenceLength;
    return {
      what: `${threads} ${threads === 1 ? 'thread' : 'threads'}`,
      value: `${Math.round((tokens / timing.medianMs) * 1000).toLocaleString('en-US')} tokens/s`,
      detail: `${timing.medianMs.toFixed(1)} ms a step of ${trainer.batch} × ${trainer.settings.sequenceLength} tokens, ${spread(timing)}`,
    };
  } finally {
    await trainer.close();
  }
}
