/** @file The journal in a file keeps the contract, survives crashes, and refuses files that were touched. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, mkdir, mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sampleEntries, testJournal } from '../../tests/contracts/journal.ts';
import { leafHash, treeHash } from '../protocol/merkle.ts';
import type { Hash } from '../protocol/names.ts';
import { toHex, utf8 } from '../util/bytes.ts';
import { canonicalJson } from '../util/canonical-json.ts';
import { journalFileName, openFileJournal } from './file.ts';
import { lockFolder } from './folder-lock.ts';

let root: string;
let count = 0;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'accrete-journal-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));
const newFolder = () => join(root, String(count++));

testJournal('file', async () => {
  const { journal } = await openFileJournal({ folder: newFolder() });
  return { journal, close: () => journal.close() };
});

const entries = sampleEntries();
const treeHeadOf = (size: number) => {
  const leaves = entries.slice(0, size).map((entry) => leafHash(utf8(canonicalJson(entry))));
  return { size, root: toHex(treeHash(leaves)) as Hash };
};

/** A closed journal with the sample entries. */
async function written(): Promise<{ folder: string; path: string; lines: string[] }> {
  const folder = newFolder();
  const { journal } = await openFileJournal({ folder });
  for (const entry of entries) await journal.append(entry);
  await journal.close();
  const path = join(folder, journalFileName);
  return { folder, path, lines: (await readFile(path, 'utf8')).trimEnd().split('\n') };
}

describe('opening a file', () => {
  it('goes on where it was closed', async () => {
    const { folder } = await written();
    const { journal, cutBytes } = await openFileJournal({ folder, anchored: treeHeadOf(5) });
    expect(cutBytes).toBe(0);
    expect(await journal.read(0, 1000)).toEqual(entries);
    await journal.close();
  });

  it('cuts off a last line that a crash tore, wherever it tore', async () => {
    const { folder, path, lines } = await written();
    const last = `${lines.at(-1)}\n`;
    for (const kept of [1, 40, last.length - 1]) {
      await writeFile(path, `${lines.slice(0, -1).join('\n')}\n${last.slice(0, kept)}`);
      const { journal, cutBytes } = await openFileJournal({ folder });
      expect(cutBytes).toBe(kept);
      await journal.append(entries.at(-1)!);
      expect(await journal.read(0, 1000), `kept ${kept}`).toEqual(entries);
      await journal.close();
    }
  });

  it('has a beginning of a group that a crash tore, wherever it tore', async () => {
    const folder = newFolder();
    const { journal } = await openFileJournal({ folder });
    const [before, group] = [entries.slice(0, -3), entries.slice(-3)];
    await journal.appendAll(before);
    const path = join(folder, journalFileName);
    const start = (await stat(path)).size;
    await journal.appendAll(group);
    await journal.close();
    const bytes = await readFile(path);
    const ends = group.map((_, i) => lineEnd(bytes, start, i + 1));
    const near = (at: number): boolean => [start, ...ends].some((end) => Math.abs(end - at) <= 2);
    for (let at = start; at <= bytes.byteLength; at++) {
      // Each byte about the ends of lines, and some within them.
      if (!near(at) && (at - start) % 29 !== 0) continue;
      await writeFile(path, bytes.subarray(0, at));
      const opened = await openFileJournal({ folder });
      const whole = before.length + ends.filter((end) => end <= at).length;
      expect(await opened.journal.read(0, 1_000), `torn at byte ${at}`).toEqual(entries.slice(0, whole));
      await opened.journal.appendAll(entries.slice(whole));
      await opened.journal.close();
      expect(await readFile(path), `torn at byte ${at}`).toEqual(bytes);
    }
  }, 60_000);

  it('refuses a file that was changed, reordered or holed in the middle', async () => {
    const { folder, path, lines } = await written();
    const changes: Record<string, string[]> = {
      changed: lines.with(2, lines[2]!.replace(/"timeMs":(\d)/, '"timeMs":9$1')),
      'changed last': lines.with(-2, lines.at(-2)!.replace(/"timeMs":(\d)/, '"timeMs":9$1')),
      swapped: lines.with(2, lines[3]!).with(3, lines[2]!),
      holed: lines.toSpliced(3, 1),
      beheaded: lines.slice(1),
      garbled: lines.with(4, 'x'),
      'empty line': lines.toSpliced(4, 0, ''),
      repeated: lines.toSpliced(4, 0, lines[4]!),
    };
    for (const [name, changed] of Object.entries(changes)) {
      await writeFile(path, `${changed.join('\n')}\n`);
      await expect(openFileJournal({ folder }), name).rejects.toMatchObject({ code: 'DAMAGED' });
      // It is left as it was, for a person to look at.
      expect(await readFile(path, 'utf8')).toBe(`${changed.join('\n')}\n`);
    }
    await writeFile(path, new Uint8Array([0xff, 0xfe, 0x0a]));
    await expect(openFileJournal({ folder })).rejects.toMatchObject({ code: 'DAMAGED' });
  });

  it('refuses a file that ends below, or disagrees with, an anchored tree head', async () => {
    const { folder, path, lines } = await written();
    const anchored = treeHeadOf(6);
    await truncate(path, lines.slice(0, 5).join('\n').length + 1);
    await expect(openFileJournal({ folder, anchored })).rejects.toMatchObject({ code: 'TRUNCATED' });
    const { journal } = await openFileJournal({ folder, anchored: treeHeadOf(5) });
    await journal.close();
    const wrong = { size: 4, root: anchored.root };
    await expect(openFileJournal({ folder, anchored: wrong })).rejects.toMatchObject({ code: 'DAMAGED' });
  });
});

/** Where the `count`th line from `start` on ends, with its line feed. */
function lineEnd(bytes: Buffer, start: number, count: number): number {
  let end = start;
  for (let i = 0; i < count; i++) end = bytes.indexOf(0x0a, end) + 1;
  return end;
}

describe('a disk that is full', () => {
  /** In a process whose files may not grow beyond so many KiB, as on a full disk a write then ends in the middle of a line. */
  async function appendBelow(
    limitKiB: number,
    folder: string,
    how: 'each' | 'group' = 'each',
  ): Promise<{ accepted: number; after: string; read: number }> {
    const script = join(import.meta.dirname, '../../tests/support/append-until-full.ts');
    const node = [process.execPath, '--import', 'tsx', script, folder, how];
    const child = spawn('sh', ['-c', `ulimit -f ${limitKiB * 2} && exec "$@"`, 'sh', ...node], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const said = (await child.stdout.toArray()).join('');
    return JSON.parse(said);
  }

  it('takes no entry that is written in part, and goes on once there is room', async () => {
    const folder = newFolder();
    const { accepted, after, read } = await appendBelow(4, folder);
    expect(accepted).toBeGreaterThan(1);
    expect(accepted).toBeLessThan(entries.length);
    // The next one is refused for the same reason, not because the file looks like another's.
    expect(after).toBe('IO');
    expect(read).toBe(accepted);
    const { journal, cutBytes } = await openFileJournal({ folder });
    expect(cutBytes).toBe(0);
    expect(journal.head.size).toBe(accepted);
    for (const entry of entries.slice(accepted)) await journal.append(entry);
    expect(await journal.read(0, 1_000)).toEqual(entries);
    await journal.close();
  });

  it('takes nothing of a group that does not fit', async () => {
    const folder = newFolder();
    const { accepted, after, read } = await appendBelow(4, folder, 'group');
    expect({ accepted, after, read }).toEqual({ accepted: 2, after: 'IO', read: 2 });
    const { journal, cutBytes } = await openFileJournal({ folder });
    expect({ cutBytes, size: journal.head.size }).toEqual({ cutBytes: 0, size: 2 });
    await journal.close();
  });
});

describe('two processes on one folder', () => {
  it('the second is refused until the first is done', async () => {
    const folder = newFolder();
    const { journal } = await openFileJournal({ folder });
    const second = openFileJournal({ folder });
    await expect(second).rejects.toMatchObject({ code: 'LOCKED', retryable: true });
    await expect(second).rejects.toThrow(String(process.pid));
    await journal.close();
    await (await openFileJournal({ folder })).journal.close();
  });

  it('one that was killed does not stand in the way', async () => {
    const folder = newFolder();
    await mkdir(join(folder, 'lock'), { recursive: true });
    const pid = Number(execFileSync(process.execPath, ['-e', 'console.log(process.pid)'], { encoding: 'utf8' }));
    await writeFile(join(folder, 'lock-owner.json'), JSON.stringify({ pid, host: hostname() }));
    const lock = await lockFolder(folder);
    await expect(lockFolder(folder)).rejects.toMatchObject({ code: 'LOCKED' });
    await lock.release();
  });

  it('one that lives does, also when it is another program', async () => {
    const folder = newFolder();
    const other = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
    await mkdir(join(folder, 'lock'), { recursive: true });
    await writeFile(join(folder, 'lock-owner.json'), JSON.stringify({ pid: other.pid, host: hostname() }));
    await expect(lockFolder(folder)).rejects.toMatchObject({ code: 'LOCKED' });
    other.kill('SIGKILL');
    await once(other, 'exit');
    await (await lockFolder(folder)).release();
  });

  it('a journal that another one wrote into stops', async () => {
    const folder = newFolder();
    const { journal } = await openFileJournal({ folder });
    await journal.append(entries[0]!);
    await appendFile(join(folder, journalFileName), 'x');
    await expect(journal.append(entries[1]!)).rejects.toMatchObject({ code: 'LOCKED' });
    await journal.close();
  });
});
