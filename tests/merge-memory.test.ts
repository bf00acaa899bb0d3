/**
 * @file A merge needs memory for windows, not for the fragment: a process that may not hold one fragment merges eight learners'
 * claims and verifies the result; and one that may not hold the model makes a release.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { MergeJobResult } from '../bench/merge-job.ts';
import type { ReleaseJobResult } from '../bench/release-job.ts';

const root = join(import.meta.dirname, '..');

function run<Result>(file: string, args: readonly string[]): Result {
  const child = spawnSync(
    process.execPath,
    ['--max-old-space-size=96', '--import', 'tsx', join(root, 'bench', file), ...args],
    { cwd: root, encoding: 'utf8', timeout: 280_000 },
  );
  expect(child.status, child.stderr).toBe(0);
  return JSON.parse(child.stdout.trim().split('\n').at(-1)!) as Result;
}

it('merges and verifies a fragment several times as large as what it takes', { timeout: 300_000 }, () => {
  // A 128th of the plan of 16.55B parameters: 129M, 4.6 GB in float32 with eight learners.
  const job = run<MergeJobResult>('merge-job.ts', ['topk', '128', 'synthetic', 'verify']);
  const stateBytes = 4 * job.elements;
  expect(stateBytes).toBeGreaterThan(400e6);
  expect(job.claimBytes).toBeLessThan((8 * stateBytes) / 140);
  expect(job.peakBytes - job.beforeBytes, JSON.stringify(job)).toBeLessThan(stateBytes);
  expect(job.peakBytes).toBeLessThan(512 * 2 ** 20);
});

it('a release is made from states that together are larger than what it takes', { timeout: 300_000 }, () => {
  const job = run<ReleaseJobResult>('release-job.ts', ['small']);
  expect(job.stateBytes).toBeGreaterThan(350e6);
  expect(job.fileBytes).toBeGreaterThan(job.stateBytes * 0.45);
  expect(job.peakBytes, JSON.stringify(job)).toBeLessThan(job.stateBytes);
});
