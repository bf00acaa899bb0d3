/** @file An export whose process is killed goes on where it was when the same command is given again, and ends in the same files. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { writeSparseCheckpoint } from '../src/export/test-support.ts';

let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'accrete-kill-'))));
afterEach(() => rmSync(folder, { recursive: true }));

function start(to: string, out: string) {
  const bin = join(import.meta.dirname, '..', 'bin', 'accrete');
  const argv = ['export', '--checkpoint', join(folder, 'model'), '--to', to, '--type', 'F32', '--name', 'test'];
  return spawn(process.execPath, [bin, ...argv, '--out', join(folder, out)], { stdio: 'ignore' });
}

/** Whole parts of each file that are known to be on the disk. */
function doneParts(out: string): Readonly<Record<string, number>> {
  const path = join(folder, `.${out}.partial`, 'state.json');
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')).done : {};
}

async function killHalfway(to: string, out: string, file: string): Promise<void> {
  const child = start(to, out);
  const ended = once(child, 'exit');
  while (!((doneParts(out)[file] ?? 0) > 1)) {
    expect(child.exitCode, 'ended before it was killed').toBeNull();
    await sleep(1);
  }
  child.kill('SIGKILL');
  expect(await ended).toEqual([null, 'SIGKILL']);
}

/** Byte `offset` of a file as another: whether it is written again shows in it. */
function mark(path: string, offset: number, byte: number): void {
  const handle = openSync(path, 'r+');
  writeSync(handle, Uint8Array.of(byte), 0, 1, offset);
  closeSync(handle);
}

const filesOf = (path: string): readonly string[] =>
  statSync(path).isFile() ? [path] : readdirSync(path).map((name) => join(path, name));

it.each([
  ['hf', 'out', 'model.safetensors'],
  ['gguf', 'out.gguf', 'out.gguf'],
  ['mlx', 'out', 'model.safetensors'],
])('%s', { timeout: 300_000 }, async (to, out, file) => {
  writeSparseCheckpoint(join(folder, 'model'), 12);
  await killHalfway(to, out, file);
  expect(readdirSync(folder).sort(), 'nothing under the name asked for').toEqual([`.${out}.partial`, 'model']);
  // A zero in the first tensors, which were whole on the disk.
  const offset = 8 << 20;
  mark(join(folder, `.${out}.partial`, 'files', file), offset, 77);
  expect(await once(start(to, out), 'exit')).toEqual([0, null]);
  const whole = to === 'gguf' ? join(folder, out) : join(folder, out, file);
  expect(readFileSync(whole)[offset], 'what was whole is kept').toBe(77);
  mark(whole, offset, 0);

  const again = `again-${out}`;
  expect(await once(start(to, again), 'exit')).toEqual([0, null]);
  const [first, second] = [filesOf(join(folder, out)), filesOf(join(folder, again))];
  expect(second.length).toBe(first.length);
  for (const [i, path] of first.entries()) expect(readFileSync(path).equals(readFileSync(second[i]!)), path).toBe(true);
  expect(readdirSync(folder).filter((name) => name.startsWith('.'))).toEqual([]);
});
