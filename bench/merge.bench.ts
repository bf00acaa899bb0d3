/** @file The merge of eight learners' fragment (f32) with the outer step, beside a plain copy of the same bytes. */
import { mergeFragment } from '../src/merge/merge-fragment.ts';
import { type Bench, type BenchRow, gigabytesPerSecond, spread, time } from './measure.ts';
import { syntheticFragment, syntheticValues } from './synthetic.ts';

const elements = 2 ** 21;
const learners = 8;

export const merge: Bench = {
  name: 'merge',
  about: `merge of ${learners} learners, one fragment of ${(elements / 1e6).toFixed(1)}M float32 parameters`,
  async run() {
    const fragment = syntheticFragment(elements);
    const theta = syntheticValues(elements, 0);
    const claims = Array.from({ length: learners }, (_, m) => ({
      id: String(m),
      hotkey: `hotkey-${m}`,
      learner: 'a',
      tokens: 1000 + m,
      staleness: 0,
      innerSteps: 6,
      pseudoGradient: syntheticValues(elements, m + 1).params,
    }));
    const momentum = new Float32Array(elements);
    const readBytes = 4 * elements * learners;
    const rows: BenchRow[] = [];
    for (const rule of ['mean', 'rda'] as const) {
      const timing = await time(() =>
        mergeFragment({
          ...{ fragment, theta, momentum, claims, rule, recentNorms: [] },
          outer: { learningRate: 0.8, momentum: 0.5 },
          clip: { multiple: 4, smallCohort: 4 },
        }),
      );
      rows.push({
        what: `merge, ${rule}`,
        value: gigabytesPerSecond(readBytes, timing.medianMs),
        detail: `${timing.medianMs.toFixed(1)} ms, ${spread(timing)}; norms, clip, merge, Nesterov; bytes of the pseudo-gradients`,
      });
    }
    const target = new Float32Array(elements);
    const copy = await time(() => {
      for (const { pseudoGradient } of claims) target.set(pseudoGradient);
    });
    rows.push({ what: 'memory copy', value: gigabytesPerSecond(readBytes, copy.medianMs), detail: spread(copy) });
    return rows;
  },
};
