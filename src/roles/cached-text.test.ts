/** @file Text of a run through a cache: a large shard is read by its pages, and what comes is what lies in the shard. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { largeCorpus, largeIdAt } from '../../tests/support/large-corpus.ts';
import { newTinyRun } from '../../tests/support/local-network.ts';
import { pageBytes } from '../data/shard-pages.ts';
import { packSequence } from '../data/shards.ts';
import { manifestSchema, type RunManifest } from '../protocol/manifest.ts';
import type { EventBody } from '../protocol/messages.ts';
import { MemoryStore } from '../store/memory.ts';
import { hashArtifact } from '../store/node-hash.ts';
import { silentLog } from '../util/clock.ts';
import { openCachedText } from './cached-text.ts';
import { initRun } from './orchestrator/run-init.ts';
import { sequencesAt } from './run-data.ts';

const { signal } = new AbortController();
const { catalog, readFile } = largeCorpus();
const { vocabSize, endOfText } = catalog;

let dir = '';
let manifest: RunManifest;
const store = new MemoryStore();
const read: { readonly root: string; readonly sizeBytes: number }[] = [];
/** Counts what comes over the wire. */
const counted = {
  get: async (...[artifact, options]: Parameters<MemoryStore['get']>) => {
    read.push(artifact);
    return await store.get(artifact, options);
  },
  parts: {
    read: async (...[artifact, range, options]: Parameters<MemoryStore['parts']['read']>) => {
      read.push({ root: artifact.root, sizeBytes: range.to - range.from });
      return await store.parts.read(artifact, range, options);
    },
  },
  put: store.put.bind(store),
  stat: store.stat.bind(store),
  remove: store.remove.bind(store),
};

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'accrete-text-'));
  const [run] = await initRun({
    ...newTinyRun(),
    ...{ catalog, store, artifactOf: hashArtifact, readCatalogFile: readFile },
  });
  manifest = manifestSchema.parse((run.body as EventBody<'run'>).manifest);
});
afterAll(() => rm(dir, { recursive: true }));

describe('text through a cache', () => {
  it('is named by the manifest where a shard is large', () => {
    expect(manifest.data.pages).toBeDefined();
  });

  it('of a large shard is read by pages: right ids, few bytes, and never more on disk than its limit', async () => {
    const limitBytes = 20 * pageBytes;
    const terms = () => ({ phases: manifest.phases, cursors: [] });
    const text = await openCachedText({ dir, limitBytes }, manifest, { store: counted, log: silentLog, signal, terms });
    read.splice(0);
    const positions = Array.from({ length: 100 }, (_, i) => 1_000 + i);
    for (const position of positions) {
      const { shard: found, offset, length } = text.locate(0, position);
      expect(found.source).toBe('large');
      const [sequence] = await sequencesAt(text, 0, [position]);
      const due = Array.from({ length }, (_, i) => largeIdAt(0, vocabSize, offset + i));
      expect(sequence, `${position}`).toEqual(packSequence(due, endOfText));
    }
    const bytes = read.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    expect(read.every(({ sizeBytes }) => sizeBytes <= pageBytes)).toBe(true);
    // A page for each sequence, and five records: a third of the shard's 16 MiB, where the whole would be all of it.
    expect(bytes).toBeLessThan(101 * pageBytes);
    const files = (await readdir(dir, { recursive: true })).filter((name) => /-\d+$/.test(name));
    expect(files.length * pageBytes).toBeLessThanOrEqual(limitBytes);
  });
});
