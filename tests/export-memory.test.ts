/**
 * @file Exporting needs memory for a tensor, not for the checkpoint: a process that may not hold the checkpoint exports it,
 * in each format. The checkpoint is a sparse file of zeros with a true header, so that it costs no disk.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { writeSparseCheckpoint } from '../src/export/test-support.ts';

let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'accrete-memory-'))));
afterEach(() => rmSync(folder, { recursive: true }));

/** The command in a process of its own, with what it held before and at most. */
function measure(argv: readonly string[]): { exitCode: number; beforeBytes: number; peakBytes: number } {
  const entry = join(folder, 'entry.mjs');
  writeFileSync(
    entry,
    `import { main } from ${JSON.stringify(join(import.meta.dirname, '..', 'src', 'cli', 'main.ts'))};
    const never = new AbortController().signal;
    const line = (text) => console.error(text);
    const io = { out: line, write: line, err: line, terminal: null, environment: {}, cwd: ${JSON.stringify(folder)}, stop: never, force: never };
    const beforeBytes = process.memoryUsage().rss;
    const exitCode = await main(${JSON.stringify(argv)}, io);
    console.log(JSON.stringify({ exitCode, beforeBytes, peakBytes: process.resourceUsage().maxRSS * 1024 }));`,
  );
  const child = spawnSync(process.execPath, ['--max-old-space-size=96', '--import', 'tsx', entry], {
    ...{ cwd: join(import.meta.dirname, '..'), encoding: 'utf8', timeout: 280_000 },
  });
  expect(child.status, child.stderr).toBe(0);
  const report = JSON.parse(child.stdout.trim().split('\n').at(-1)!);
  expect(report.exitCode, child.stderr).toBe(0);
  return report;
}

const sizeOfAll = (path: string): number =>
  statSync(path).isFile()
    ? statSync(path).size
    : readdirSync(path).reduce((sum, name) => sum + statSync(join(path, name)).size, 0);

it.each([
  ['hf', ['--type', 'BF16', '--shard-gb', '0.1'], 'out', 1 / 2],
  ['gguf', ['--type', 'Q8_0'], 'out.gguf', 1 / 4],
  ['mlx', ['--bits', '4'], 'out', 1 / 8],
])('%s %j: a checkpoint many times as large as what it takes', { timeout: 300_000 }, (to, more, out, share) => {
  const sizeBytes = writeSparseCheckpoint(join(folder, 'model'), 30);
  expect(sizeBytes).toBeGreaterThan(400e6);
  const { beforeBytes, peakBytes } = measure([
    ...['export', '--checkpoint', 'model', '--to', to, '--out', out, ...more],
  ]);
  expect(sizeOfAll(join(folder, out))).toBeGreaterThan(sizeBytes * share);
  // A tensor of 8 MiB, its bytes and parts, several of them until they are collected; with the code loaded on the way.
  expect(peakBytes - beforeBytes, `peak ${peakBytes}, at the start ${beforeBytes}`).toBeLessThan(sizeBytes / 3);
});
