/** @file What a learner's memory of its states costs beside training: the root, the copy and the file, in processor time. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { artifactOfParts } from '../src/protocol/artifact.ts';
import { runIdOf } from '../src/protocol/hash.ts';
import { StateFolder } from '../src/roles/learner/state-folder.ts';
import { TracedLearner } from '../src/roles/learner/test-support.ts';
import { nodeSha256 as hash } from '../src/util/node-sha256.ts';
import { openRun } from './audits.bench.ts';
import { type Bench, type BenchRow, percentile } from './measure.ts';

const rounds = 9;

export const stateRoot: Bench = {
  name: 'state-root',
  about: 'a state root and its file beside an inner step on one thread, processor time',
  async run() {
    const rows: BenchRow[] = [];
    for (const preset of ['tiny', 'nano'] as const) rows.push(...(await measure(preset)));
    return rows;
  },
};

async function measure(preset: 'tiny' | 'nano'): Promise<readonly BenchRow[]> {
  const run = openRun(preset);
  const traced = new TracedLearner(run, { threads: 1, device: 'cpu' });
  const dir = await mkdtemp(join(tmpdir(), 'accrete-bench-'));
  const folder = await StateFolder.open({ dir, run: runIdOf(run.manifest), keep: 3 }, 0);
  const ms: Record<'step' | 'root' | 'file', number[]> = { step: [], root: [], file: [] };
  for (let round = -2; round < rounds; round++) {
    const parts = traced.learner.endSegment(round + 2);
    const times = {
      step: await cpuMs(() => traced.step()),
      root: await cpuMs(() => artifactOfParts(parts, hash)),
      file: await cpuMs(async () => {
        const { root } = artifactOfParts([new Uint8Array([round + 2])], hash);
        await folder.add({ innerSteps: round + 2, root, parts });
        await folder.close();
      }),
    };
    if (round >= 0) for (const what of ['step', 'root', 'file'] as const) ms[what].push(times[what]);
  }
  await traced.learner.close();
  await rm(dir, { recursive: true });
  const sizeBytes = traced.learner.endSegment(0).reduce((sum, { byteLength }) => sum + byteLength, 0);
  const every = run.manifest.sync.stateRootEverySteps;
  const median = (what: 'step' | 'root' | 'file'): number => percentile(ms[what], 0.5);
  const row = (what: 'step' | 'root' | 'file'): BenchRow => ({
    what: `${preset}: ${what}`,
    value: `${median(what).toFixed(1)} ms`,
    detail:
      what === 'step'
        ? `${rounds} rounds`
        : `${(sizeBytes / 1e6).toFixed(1)} MB; every ${every} steps ${((100 * median(what)) / (every * median('step'))).toFixed(1)} % of training`,
  });
  return [row('step'), row('root'), row('file')];
}

async function cpuMs(work: () => unknown): Promise<number> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}
