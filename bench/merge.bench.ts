/**
 * @file The merge of eight learners' fragment (f32) with the outer step, beside a plain copy of the same bytes and PyTorch; and
 * a fragment of the `quasar-preview` plan, merged piece by piece in a process of its own, with its peak of memory.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { mergeFragment } from '../src/merge/merge-fragment.ts';
import { type Bench, type BenchRow, gigabytesPerSecond, spread, time } from './measure.ts';
import type { MergeJobResult } from './merge-job.ts';
import type { ReleaseJobResult } from './release-job.ts';
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
    rows.push(torchRow(readBytes));
    return rows;
  },
};

/** Fragments of the plan of 16.55B parameters. */
const fragmentCount = 24;

interface RealCase {
  readonly what: string;
  readonly args: readonly string[];
}

const realCases: readonly RealCase[] = [
  { what: 'f32, claims made on the fly', args: ['f32', String(fragmentCount), 'synthetic'] },
  { what: 'topk, claims from files', args: ['topk', String(fragmentCount), 'synthetic', 'verify'] },
  { what: 'int8, an eighth of a fragment, all from and to files', args: ['int8', String(8 * fragmentCount), 'files'] },
];

export const mergeReal: Bench = {
  name: 'merge-real',
  about: `merge of ${learners} learners, one of ${fragmentCount} fragments of the quasar-preview plan, streamed (minutes)`,
  isLong: true,
  async run() {
    const rows = realCases.map(({ what, args }): BenchRow => {
      const job = runJob<MergeJobResult>('merge-job.ts', args);
      const inBytes = job.claimBytes;
      const seconds = (ms: number): string => (ms / 1000).toFixed(1);
      const verified =
        job.verifyCpuMs === null
          ? ''
          : `; verified in ${seconds(job.verifyCpuMs)} core-seconds, a segment of ${fragmentCount} merges in ${seconds(fragmentCount * job.verifyCpuMs)}`;
      const sampled = job.sampled === 0 ? '' : `; ${job.sampled} sampled numbers and a norm equal the reference's`;
      return {
        what,
        value: `${gigabytesPerSecond(4 * job.elements * job.learners, job.ms)}, peak ${(job.peakBytes / 2 ** 20).toFixed(0)} MiB`,
        detail: `${(job.elements / 1e6).toFixed(0)}M parameters in ${seconds(job.ms)} s, ${seconds(job.cpuMs)} core-seconds, of float32 pseudo-gradients; claims of ${(inBytes / 1e6).toFixed(0)} MB; ${(job.beforeBytes / 2 ** 20).toFixed(0)} MiB before${sampled}${verified}`,
      };
    });
    return [...rows, releaseRow()];
  },
};

/** The syncer writes such a release, and whoever verifies makes it again. */
function releaseRow(): BenchRow {
  const job = runJob<ReleaseJobResult>('release-job.ts', []);
  return {
    what: 'release in bfloat16, from 24 states',
    value: `${gigabytesPerSecond(job.stateBytes, job.ms)}, peak ${(job.peakBytes / 2 ** 20).toFixed(0)} MiB`,
    detail: `${(job.parameters / 1e9).toFixed(2)}B parameters: ${job.files} files of ${(job.fileBytes / 1e9).toFixed(1)} GB made and named in ${(job.ms / 1000).toFixed(0)} s, ${(job.cpuMs / 1000).toFixed(0)} core-seconds, of states' bytes`,
  };
}

function runJob<Result>(file: string, args: readonly string[]): Result {
  const entry = join(import.meta.dirname, file);
  const child = spawnSync(process.execPath, ['--import', 'tsx', entry, ...args], {
    ...{ encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], cwd: join(import.meta.dirname, '..') },
  });
  if (child.status !== 0) throw new Error(`${file} ${args.join(' ')} ended with ${child.status}`);
  return JSON.parse(child.stdout.trim().split('\n').at(-1)!) as Result;
}

/** The same merge in PyTorch, float64 sums: norms, weighted mean, Nesterov. Named as missing where it is not installed. */
function torchRow(readBytes: number): BenchRow {
  const child = spawnSync(
    '/usr/bin/python3',
    [join(import.meta.dirname, 'torch', 'merge.py'), String(elements), String(learners)],
    {
      ...{ encoding: 'utf8', env: { ...process.env, OMP_NUM_THREADS: '1', OPENBLAS_NUM_THREADS: '1' } },
    },
  );
  if (child.status !== 0)
    return {
      what: 'PyTorch',
      value: 'missing',
      detail: 'install it (on Debian as root: apt-get install python3-torch python3-numpy)',
    };
  const { medianMs, lowMs, highMs, version } = JSON.parse(child.stdout) as Record<string, number>;
  return {
    what: `PyTorch ${version}, 1 thread`,
    value: gigabytesPerSecond(readBytes, medianMs!),
    detail: `${medianMs!.toFixed(1)} ms, ${lowMs!.toFixed(1)}-${highMs!.toFixed(1)} ms (10-90 %, 11 runs)`,
  };
}
