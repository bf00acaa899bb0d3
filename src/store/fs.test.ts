/** @file The contract of the store, held by the folder; and what only a disk can do wrong. */
import { mkdtemp, open, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { randomBytes, testStore } from '../../tests/contracts/store.ts';
import { artifactOf, pieceBytes } from '../protocol/artifact.ts';
import { FsStore } from './fs.ts';
import { ArtifactHasher, hashArtifact } from './node-hash.ts';

const dirs: string[] = [];
afterEach(async () => {
  vi.restoreAllMocks();
  for (const dir of dirs.splice(0)) await rm(dir, { recursive: true, force: true });
});

async function temporaryDir(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'accrete-store-'));
  dirs.push(dir);
  return dir;
}

async function filesIn(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => entry.name);
}

async function flipByte(dir: string, root: string, at: number): Promise<void> {
  const file = await open(join(dir, 'artifacts', root.slice(0, 2), root.slice(2, 4), root), 'r+');
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, at);
  await file.write(Buffer.of(byte[0]! ^ 1), 0, 1, at);
  await file.close();
}

testStore('folder', async () => {
  const dir = await temporaryDir();
  return {
    store: await FsStore.open(dir),
    damage: (root) => flipByte(dir, root, 3),
    close: async () => undefined,
  };
});

describe('folder store', () => {
  it('has after a restart what it had before', async () => {
    const dir = await temporaryDir();
    const bytes = randomBytes(1_000, 1);
    await (await FsStore.open(dir)).put(artifactOf(bytes), bytes);
    const again = await FsStore.open(dir);
    expect(Buffer.compare(await again.get(artifactOf(bytes)), bytes)).toBe(0);
  });

  it('a disk without space: DISK_FULL before anything is written', async () => {
    const dir = await temporaryDir();
    const store = await FsStore.open(dir, { minFreeBytes: 2 ** 60 });
    const bytes = randomBytes(1_000, 2);
    await expect(store.put(artifactOf(bytes), bytes)).rejects.toMatchObject({
      code: 'DISK_FULL',
      message: expect.stringContaining('free'),
    });
    expect(await filesIn(dir)).toEqual([]);
  });

  it('a disk that fills up in the middle: DISK_FULL, and nothing is left behind', async () => {
    const dir = await temporaryDir();
    const store = await FsStore.open(dir);
    const probe = await open(join(dir, 'probe'), 'w');
    const files = Object.getPrototypeOf(probe) as { writeFile(data: Uint8Array): Promise<void> };
    await probe.close();
    await rm(join(dir, 'probe'));
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), {
      code: 'ENOSPC',
      syscall: 'write',
    });
    const chunk = randomBytes(1_000, 3);
    const artifact = artifactOf(Buffer.concat([chunk, chunk]));
    let writes = 0;
    const real = files.writeFile;
    vi.spyOn(files, 'writeFile').mockImplementation(async function (this: unknown, data) {
      if (++writes > 1) throw full;
      await real.call(this as typeof files, data);
    });
    await expect(store.write(artifact, [chunk, chunk])).rejects.toMatchObject({ code: 'DISK_FULL' });
    expect(writes).toBe(2);
    vi.restoreAllMocks();
    expect(await filesIn(dir)).toEqual([]);
    await store.write(artifact, [chunk, chunk]);
  });

  it('leaves nothing behind of a refused, broken or aborted stream', async () => {
    const dir = await temporaryDir();
    const store = await FsStore.open(dir);
    const bytes = randomBytes(10_000, 4);
    const artifact = artifactOf(bytes);
    let read = 0;
    async function* endless() {
      for (;;) {
        read++;
        yield bytes.subarray(0, 6_000);
      }
    }
    await expect(store.write(artifact, endless())).rejects.toMatchObject({ code: 'SIZE_MISMATCH' });
    expect(read).toBe(2);
    await expect(store.write(artifact, [bytes.subarray(1)])).rejects.toMatchObject({ code: 'SIZE_MISMATCH' });
    await expect(store.write(artifact, [randomBytes(10_000, 5)])).rejects.toMatchObject({ code: 'HASH_MISMATCH' });
    async function* broken() {
      yield bytes.subarray(0, 100);
      throw new Error('connection lost');
    }
    await expect(store.write(artifact, broken())).rejects.toThrow('connection lost');
    const controller = new AbortController();
    async function* aborted() {
      yield bytes.subarray(0, 100);
      controller.abort(new Error('given up'));
      yield bytes.subarray(100);
    }
    await expect(store.write(artifact, aborted(), { signal: controller.signal })).rejects.toThrow('given up');
    expect(await filesIn(dir)).toEqual([]);
  });

  it('clears away what a crashed process left, but not what another is writing', async () => {
    const dir = await temporaryDir();
    await FsStore.open(dir);
    for (const name of ['old', 'new']) await writeFile(join(dir, 'temporary', name), 'half');
    await utimes(join(dir, 'temporary', 'old'), 1, 1);
    await FsStore.open(dir);
    expect(await readdir(join(dir, 'temporary'))).toEqual(['new']);
  });

  it('says when its folder cannot be used', async () => {
    const dir = await temporaryDir();
    await writeFile(join(dir, 'file'), '');
    await expect(FsStore.open(join(dir, 'file'))).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });

  it('hashes a stream as the protocol hashes the whole, however it is cut', () => {
    const sizes = [
      0,
      1,
      pieceBytes - 1,
      pieceBytes,
      pieceBytes + 1,
      3 * pieceBytes,
      5 * pieceBytes + 3,
      7 * pieceBytes,
    ];
    const source = randomBytes(7 * pieceBytes, 6);
    for (const sizeBytes of sizes) {
      const bytes = source.subarray(0, sizeBytes);
      const expected = artifactOf(bytes);
      expect(hashArtifact(bytes), `${sizeBytes} bytes`).toEqual(expected);
      const hasher = new ArtifactHasher();
      for (let at = 0; at < sizeBytes; at += 1_234_567) hasher.update(bytes.subarray(at, at + 1_234_567));
      expect(hasher.finish(), `${sizeBytes} bytes in parts`).toEqual(expected);
    }
  });
});
