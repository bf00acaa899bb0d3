/**
 * @file A merge needs memory for windows, not for the fragment: a process that may not hold one fragment merges eight learners'
 * claims and verifies the result.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { MergeJobResult } from '../bench/merge-job.ts';

it('merges and verifies a fragment several times as large as what it takes', { timeout: 300_000 }, () => {
  const root = join(import.meta.dirname, '..');
  const entry = join(root, 'bench', 'merge-job.ts');
  // A 128th of the plan of 16.55B parameters: 129M, 4.6 GB in float32 with eight learners.
  const child = spawnSync(
    process.execPath,
    ['--max-old-space-size=96', '--import', 'tsx', entry, 'topk', '128', 'synthetic', 'verify'],
    { cwd: root, encoding: 'utf8', timeout: 280_000 },
  );
  expect(child.status, child.stderr).toBe(0);
  const job = JSON.parse(child.stdout.trim().split('\n').at(-1)!) as MergeJobResult;
  const stateBytes = 4 * job.elements;
  expect(stateBytes).toBeGreaterThan(400e6);
  expect(job.claimBytes).toBeLessThan((8 * stateBytes) / 140);
  expect(job.peakBytes - job.beforeBytes, JSON.stringify(job)).toBeLessThan(stateBytes);
  expect(job.peakBytes).toBeLessThan(512 * 2 ** 20);
});
