/** @file Exports are whole or absent; interrupted ones go on; failed ones leave nothing. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type ExportFile, type StagedExport, wholeFile, writeStaged } from './staged.ts';

let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'accrete-staged-'))));
afterEach(() => rmSync(folder, { recursive: true }));

/** Files of ten parts of 100 bytes; `made` lists which were made. */
function files(made: string[], onPart: (name: string) => void = () => {}): readonly ExportFile[] {
  const part = (name: string, fill: number) => ({
    ...{ name, sizeBytes: 100 },
    async *bytes() {
      made.push(name);
      onPart(name);
      yield new Uint8Array(60).fill(fill);
      yield new Uint8Array(40).fill(fill);
    },
  });
  const file = (name: string): ExportFile => ({
    name,
    parts: Array.from({ length: 10 }, (_, i) => part(`${name}/${i}`, i + 1)),
  });
  return [file('a'), file('b')];
}

const options = (changes: Partial<StagedExport> & Pick<StagedExport, 'files'>): StagedExport => ({
  ...{ target: join(folder, 'out'), kind: 'folder', source: 's', syncEveryBytes: 250 },
  ...changes,
});

const content = (name: string) => readFileSync(join(folder, 'out', name));
const whole = Buffer.concat(Array.from({ length: 10 }, (_, i) => Buffer.alloc(100, i + 1)));

async function interruptAt(name: string): Promise<string[]> {
  const stop = new AbortController();
  const made: string[] = [];
  const onPart = (at: string) => (at === name ? stop.abort(new Error('stopped')) : undefined);
  await expect(writeStaged(options({ files: files(made, onPart), signal: stop.signal }))).rejects.toMatchObject({
    code: 'INTERRUPTED',
  });
  expect(readdirSync(folder)).toEqual(['.out.partial']);
  return made;
}

it('goes on where it was interrupted, and the result is the same', async () => {
  await interruptAt('b/3');
  const made: string[] = [];
  const seen: number[] = [];
  await writeStaged(options({ files: files(made), onProgress: ({ doneBytes }) => void seen.push(doneBytes) }));
  expect(made).toEqual(['b/4', 'b/5', 'b/6', 'b/7', 'b/8', 'b/9']);
  expect([seen[0], seen.at(-1)]).toEqual([1400, 2000]);
  for (const name of ['a', 'b']) expect(content(name).equals(whole), name).toBe(true);
  expect(readdirSync(folder)).toEqual(['out']);
});

it('repeats what a killed process had not synced', async () => {
  await interruptAt('a/7');
  const partial = join(folder, '.out.partial');
  // As if the process had been killed while it wrote part 9: the state is older than the bytes.
  const state = JSON.parse(readFileSync(join(partial, 'state.json'), 'utf8'));
  writeFileSync(join(partial, 'state.json'), JSON.stringify({ ...state, done: { a: 6 } }));
  writeFileSync(join(partial, 'files', 'a'), Buffer.concat([whole.subarray(0, 800), Buffer.alloc(70, 99)]));
  const made: string[] = [];
  await writeStaged(options({ files: files(made) }));
  expect(made[0]).toBe('a/6');
  expect(content('a').equals(whole)).toBe(true);
});

it('begins anew from another source, and after damage to its own notes', async () => {
  await interruptAt('b/3');
  let made: string[] = [];
  await writeStaged(options({ files: files(made), source: 'another' }));
  expect(made.length).toBe(20);
  rmSync(join(folder, 'out'), { recursive: true });
  await interruptAt('b/3');
  writeFileSync(join(folder, '.out.partial', 'state.json'), '{"version":1,');
  made = [];
  await writeStaged(options({ files: files(made) }));
  expect(made.length).toBe(20);
  expect(content('b').equals(whole)).toBe(true);
});

it('leaves nothing when it fails, when there is no room, and when the target is there', async () => {
  const failing = files([], (name) => {
    if (name === 'b/2') throw new Error('the disk is gone');
  });
  await expect(writeStaged(options({ files: failing }))).rejects.toMatchObject({ code: 'WRITE_FAILED' });
  const huge = { name: 'a', parts: [{ ...wholeFile('a', new Uint8Array(1)).parts[0]!, sizeBytes: 2 ** 60 }] };
  await expect(writeStaged(options({ files: [huge] }))).rejects.toMatchObject({ code: 'DISK_FULL' });
  await expect(writeStaged(options({ files: files([]), target: join(folder, 'x', 'y') }))).rejects.toMatchObject({
    code: 'WRITE_FAILED',
  });
  expect(readdirSync(folder)).toEqual([]);
  writeFileSync(join(folder, 'out'), 'mine');
  await expect(writeStaged(options({ files: files([]) }))).rejects.toMatchObject({ code: 'TARGET_EXISTS' });
  expect(readFileSync(join(folder, 'out'), 'utf8')).toBe('mine');
});

/** Null, or why a small file system of its own cannot be had. */
function mountSmall(path: string, sizeBytes: number): string | null {
  mkdirSync(path);
  const { error, status, stderr } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeBytes}`, 'tmpfs', path], {
    encoding: 'utf8',
  });
  return error?.message ?? (status === 0 ? null : stderr.trim());
}

it('leaves nothing when the disk fills up while it writes', async (context) => {
  const disk = join(folder, 'disk');
  const why = mountSmall(disk, 4 << 20);
  if (why !== null) context.skip(`no file system of its own: ${why}`);
  try {
    const part = (name: string) => ({
      ...{ name, sizeBytes: 1 << 20 },
      async *bytes() {
        // Somebody else takes the room that was there at the start.
        if (name === '1') writeFileSync(join(disk, 'other'), new Uint8Array(2 << 20));
        yield new Uint8Array(1 << 20);
      },
    });
    const file = { name: 'a', parts: ['0', '1', '2'].map(part) };
    await expect(writeStaged(options({ files: [file], target: join(disk, 'out') }))).rejects.toMatchObject({
      ...{ code: 'DISK_FULL', retryable: true, message: expect.stringContaining('the disk is full') },
    });
    expect(readdirSync(disk)).toEqual(['other']);
  } finally {
    spawnSync('umount', [disk]);
  }
});

it('leaves nothing when a write says that there is no room', async () => {
  const full = files([], (name) => {
    if (name === 'b/2') throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
  });
  await expect(writeStaged(options({ files: full }))).rejects.toMatchObject({ code: 'DISK_FULL', retryable: true });
  expect(readdirSync(folder)).toEqual([]);
});

it('puts files beside the target, which appears last, and overwrites none of them', async () => {
  const beside = wholeFile('out.Modelfile', new TextEncoder().encode('FROM ./out'));
  const main = { ...files([])[0]!, name: 'out' };
  const both = options({ kind: 'file', files: [beside, main] });
  writeFileSync(join(folder, 'out.Modelfile'), 'mine');
  await expect(writeStaged(both)).rejects.toMatchObject({ code: 'TARGET_EXISTS' });
  expect(readdirSync(folder)).toEqual(['out.Modelfile']);
  rmSync(join(folder, 'out.Modelfile'));
  await writeStaged(both);
  expect(readdirSync(folder).sort()).toEqual(['out', 'out.Modelfile']);
  expect(readFileSync(join(folder, 'out')).equals(whole)).toBe(true);
});
