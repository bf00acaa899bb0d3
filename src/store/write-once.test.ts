/** @file The contract of names that are taken once, held by the folder and by memory; and what two processes do to the folder. */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, expect, it } from 'vitest';
import { testWriteOnce } from '../../tests/contracts/write-once.ts';
import { WriteOnceFolder } from './write-once-folder.ts';
import { WriteOnceMemory } from './write-once-memory.ts';

const dirs: string[] = [];
afterEach(async () => {
  for (const dir of dirs.splice(0)) await rm(dir, { recursive: true, force: true });
});

async function temporaryDir(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'accrete-once-'));
  dirs.push(dir);
  return dir;
}

testWriteOnce('memory', async () => ({ place: new WriteOnceMemory(), close: async () => {} }));
testWriteOnce('folder', async () => ({
  place: await WriteOnceFolder.open(await temporaryDir()),
  close: async () => {},
}));

it('gives each name to one of two processes', async () => {
  const dir = await temporaryDir();
  const script = `
    const { WriteOnceFolder } = await import(${JSON.stringify(join(import.meta.dirname, 'write-once-folder.ts'))});
    const place = await WriteOnceFolder.open(process.argv[1]);
    const won = [];
    for (let i = 0; i < 60; i++)
      if (await place.putNew('log/' + i, new TextEncoder().encode(process.argv[2]))) won.push(i);
    console.log(JSON.stringify(won));`;
  const run = async (name: string): Promise<number[]> => {
    const args = ['--import', 'tsx', '--input-type=module', '-e', script, dir, name];
    return JSON.parse((await promisify(execFile)(process.execPath, args, { timeout: 60_000 })).stdout);
  };
  const [a, b] = await Promise.all([run('a'), run('b')]);
  expect([...a!, ...b!].sort((x, y) => x - y)).toEqual(Array.from({ length: 60 }, (_, i) => i));
  const place = await WriteOnceFolder.open(dir);
  for (const i of a!) expect(Buffer.from((await place.get(`log/${i}`))!).toString(), `log/${i}`).toBe('a');
  expect(await readdir(join(dir, 'temporary'))).toEqual([]);
}, 90_000);

it('leaves no name behind a write that failed, and tidies up after a crash', async () => {
  const dir = await temporaryDir();
  const old = join(dir, 'temporary', 'old');
  await WriteOnceFolder.open(dir);
  await writeFile(old, 'half');
  await utimes(old, 1, 1);
  const place = await WriteOnceFolder.open(dir);
  expect(await readdir(join(dir, 'temporary'))).toEqual([]);
  await rm(join(dir, 'temporary'), { recursive: true });
  await expect(place.putNew('a', new Uint8Array(3))).rejects.toMatchObject({ code: 'UNAVAILABLE', retryable: true });
  expect(await place.get('a')).toBe(null);
});
