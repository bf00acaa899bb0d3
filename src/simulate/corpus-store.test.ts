/** @file The store of a simulation: a store like the others, whose text is not in memory and can be read at once. */
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { testStore } from '../../tests/contracts/store.ts';
import { largeCorpus, largeIdAt } from '../../tests/support/large-corpus.ts';
import { readCatalogFile, readCatalogPart } from '../data/prepared.ts';
import { hashArtifact } from '../store/node-hash.ts';
import { type CorpusBytes, CorpusStore } from './corpus-store.ts';

const { catalog, readFile } = largeCorpus();
const large = catalog.shards.at(-1)!;
const dir = mkdtempSync(join(tmpdir(), 'accrete-corpus-'));
const pathOf = (file: string): string => join(dir, catalog.preset, file);
let reads = 0;
const onDisk: CorpusBytes = {
  catalog,
  readCatalogFile: (entry) => readCatalogFile(dir, catalog, entry),
  readCatalogPart: (entry, range) => {
    reads += range.to - range.from;
    return readCatalogPart(dir, catalog, entry, range);
  },
};
beforeAll(() => {
  mkdirSync(join(dir, catalog.preset));
  for (const shard of catalog.shards) writeFileSync(pathOf(shard.file), readFile(shard));
});
afterAll(() => rmSync(dir, { recursive: true }));

testStore(
  'CorpusStore',
  async () => ({ store: new CorpusStore({ catalog, readCatalogFile: readFile }), close: async () => undefined }),
  {
    isInMemory: true,
  },
);

it('gives the run’s text as any store does, and holds none of it', async () => {
  for (const corpus of [onDisk, { catalog, readCatalogFile: readFile }]) {
    const store = new CorpusStore(corpus);
    expect(await store.stat(large.artifact.root)).toBeNull();
    expect(store.read(large, 0, 4)).toBeUndefined();
    await expect(store.put(large.artifact, readFile(catalog.shards[0]!))).rejects.toMatchObject({
      code: 'SIZE_MISMATCH',
    });
    await store.put(large.artifact, readFile(large));
    const other = hashArtifact(Buffer.from('claim'));
    await store.put(other, Buffer.from('claim'));
    expect([...store.sizes()]).toEqual([[other.root, 5]]);
    expect(await store.stat(large.artifact.root)).toBe(large.artifact.sizeBytes);
    expect(hashArtifact(await store.get(large.artifact))).toEqual(large.artifact);
    expect(Buffer.from(await store.parts.read(large.artifact, { from: 10, to: 50 }))).toEqual(
      Buffer.from(readFile(large).slice(10, 50)),
    );
    expect([...store.read(large, 70_000, 3)!]).toEqual(
      [0, 1, 2].map((i) => largeIdAt(0, catalog.vocabSize, 70_000 + i)),
    );
    expect(await store.remove(large.artifact.root)).toBe(true);
    expect(store.read(large, 0, 4)).toBeUndefined();
  }
  // Of the file what was asked for.
  expect(reads).toBe(40 + 6);
});

it('says which file is too short, or gone', async () => {
  const store = new CorpusStore(onDisk);
  await store.put(large.artifact, readFile(large));
  truncateSync(pathOf(large.file), 100);
  expect(() => store.read(large, 48, 4)).toThrow(/large-0\.tokens: expected bytes 96 to 104, it is shorter; prepare/);
  rmSync(pathOf(large.file));
  expect(() => store.read(large, 48, 4)).toThrow(/there is no such file; prepare the corpus again/);
});
