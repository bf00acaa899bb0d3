/** @file Long context: prompts read through preset tiny, and training steps on long rows, with the peak memory of each process. */
import { execFile } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { LongJob, LongResult } from './long-job.ts';
import type { Bench, BenchRow } from './measure.ts';

const jobs: readonly Omit<LongJob, 'threads'>[] = [
  { kind: 'prefill', preset: 'tiny', tokens: 16_384 },
  { kind: 'prefill', preset: 'tiny', tokens: 131_072 },
  { kind: 'train', preset: 'nano', tokens: 8_192 },
  { kind: 'train', preset: 'small', tokens: 2_048 },
];

/** A measurement that takes longer is stopped and fails. */
const limitMs = 30 * 60_000;

export const long: Bench = {
  name: 'long',
  about:
    'a prompt read in blocks; training steps of one long row with gradient checkpointing; peak memory of the process',
  async run() {
    const threads = Math.min(2, availableParallelism());
    const rows: BenchRow[] = [];
    for (const job of jobs) rows.push(rowOf({ ...job, threads }, await measure({ ...job, threads })));
    return rows;
  },
};

async function measure(job: LongJob): Promise<LongResult> {
  const script = join(import.meta.dirname, 'long-job.ts');
  const args = ['--import', 'tsx', script, JSON.stringify(job)];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: limitMs });
  return JSON.parse(stdout) as LongResult;
}

function rowOf({ kind, preset, tokens, threads }: LongJob, { ms, cpuMs, openMs, peakRssBytes }: LongResult): BenchRow {
  const seconds = (value: number): string => `${(value / 1000).toFixed(1)} s`;
  const fastest = Math.min(...ms);
  const work = kind === 'prefill' ? 'read' : `${ms.length} steps, the faster`;
  const opening = kind === 'prefill' ? '' : `, session opened in ${seconds(openMs)}`;
  return {
    what: `${kind} ${preset}, ${tokens} tokens`,
    value: `${((tokens / fastest) * 1000).toFixed(0)} tokens/s`,
    detail: `${work} in ${seconds(fastest)} (${seconds(cpuMs / ms.length)} of processor time, ${threads} threads)${opening}, peak ${(peakRssBytes / 2 ** 20).toFixed(0)} MiB`,
  };
}
