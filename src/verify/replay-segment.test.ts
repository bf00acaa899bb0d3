/** @file Redoing an audit reads the text of its steps, and of a large shard its pages: not the text of the run. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { largeCorpus } from '../../tests/support/large-corpus.ts';
import { newTinyRun } from '../../tests/support/local-network.ts';
import { pageBytes } from '../data/shard-pages.ts';
import { decodeShard } from '../data/shards.ts';
import type { ArtifactRef, RunManifest } from '../protocol/manifest.ts';
import type { EventBody } from '../protocol/messages.ts';
import { TestRun, TracedLearner } from '../roles/learner/test-support.ts';
import { initRun } from '../roles/orchestrator/run-init.ts';
import { MemoryStore } from '../store/memory.ts';
import { nodeSha256 as hash } from '../util/node-sha256.ts';
import { Unavailable } from './artifact-cache.ts';
import type { ReplayJob } from './audit-checks.ts';
import { openSegmentReplay } from './replay-segment.ts';

const { catalog, readFile } = largeCorpus(2);
const store = new MemoryStore();
const dir = mkdtempSync(join(tmpdir(), 'accrete-replay-'));
const textDir = join(dir, 'text');
const machine = { threads: 1, device: 'cpu' } as const;
let manifest: RunManifest;
let learner: TracedLearner;

beforeAll(async () => {
  const [{ body }] = await initRun(newTinyRun({ catalog, readCatalogFile: readFile, store }));
  const { manifest: whole } = body as EventBody<'run'>;
  manifest = { ...whole, sync: { ...whole.sync, leaseSequences: 64, stateRootEverySteps: 4 } };
  const train = catalog.shards.filter(({ stage }) => stage === 'train');
  const loaded = new Map(
    train.map((shard) => [shard.artifact.root as string, decodeShard(readFile(shard), shard, catalog.vocabSize)]),
  );
  learner = new TracedLearner(new TestRun(manifest, loaded), machine);
  for (let step = 0; step < 8; step++) await learner.step();
}, 120_000);
afterAll(async () => {
  await learner.learner.close();
  rmSync(dir, { recursive: true, force: true });
});

let read: { readonly root: string; readonly bytes: number }[] = [];
let spoil: (part: Uint8Array) => Uint8Array = (part) => part;
beforeEach(() => {
  [read, spoil] = [[], (part) => part];
});

const artifact = async (ref: ArtifactRef): Promise<Uint8Array> => {
  read.push({ root: ref.root, bytes: ref.sizeBytes });
  return await store.get(ref);
};
const part: NonNullable<ReplayJob['part']> = async (ref, range) => {
  read.push({ root: ref.root, bytes: range.to - range.from });
  return spoil(await store.parts.read(ref, range));
};

function jobAt(to: number, changes: Partial<ReplayJob> = {}): ReplayJob {
  const { steps, start, end, joinedAtStep, leaseOf, published } = learner.segment(to);
  return {
    audit: { joinedAtStep } as ReplayJob['audit'],
    ...{ manifest, terms: { phases: manifest.phases, cursors: [] }, frozen: null, claims: [] },
    ...{ learner: 'learner' as ReplayJob['learner'], machineClass: 'this', steps },
    ...{ start: start?.bytes ?? null, end, lines: learner.lines.slice(Math.max(0, steps[0] - 1), steps[1]) },
    ...{ leaseOf, fragmentAt: published, artifact, part },
    ...changes,
  };
}

const open = () =>
  openSegmentReplay({ threads: 1, machineClass: 'this', hash, textDir, signal: AbortSignal.timeout(300_000) });

describe('openSegmentReplay', () => {
  it('reads pages of the steps, each once, and nothing of the rest of the run', async () => {
    const segments = open();
    expect(existsSync(textDir)).toBe(false);
    for (const to of [4, 8]) expect(await segments.replay(jobAt(to))).toMatchObject({ outcome: 'pass', code: 'OK' });
    await segments.close();
    const sequences = 8 * manifest.recipe.batchSequences;
    const bytes = read.reduce((sum, { bytes: each }) => sum + each, 0);
    const runBytes = manifest.data.shards.reduce((sum, shard) => sum + shard.artifact.sizeBytes, 0);
    // A page a sequence at most, and a record of each of ten groups.
    expect(bytes).toBeLessThan(sequences * pageBytes + 10 * 3_000);
    expect(bytes).toBeLessThan(runBytes / 8);
    expect(read.every(({ root }) => root !== manifest.data.shards[0]!.artifact.root)).toBe(true);
  });

  it('fails a segment whose text was another', async () => {
    const segments = open();
    const lines = learner.lines.slice(3, 8);
    const other = lines.with(2, { ...lines[2]!, sequences: lines[3]!.sequences });
    expect(await segments.replay(jobAt(8, { lines: other }))).toMatchObject({ outcome: 'fail' });
    await segments.close();
  });

  it('says which text is damaged, or gone, and goes on once it is right', async () => {
    rmSync(textDir, { recursive: true, force: true });
    const segments = open();
    spoil = (bytes) => {
      if (bytes.byteLength >= pageBytes) bytes[9]! ^= 1;
      return bytes;
    };
    const damaged = await segments.replay(jobAt(4)).catch((error: unknown) => error);
    expect(damaged).toBeInstanceOf(Unavailable);
    expect((damaged as Unavailable).answer).toEqual({
      kind: 'damaged',
      found: expect.stringContaining('another page'),
    });
    const missing = new Unavailable(manifest.data.shards.at(-1)!.artifact, { kind: 'missing' });
    const gone = jobAt(4, { part: () => Promise.reject(missing) });
    await expect(segments.replay(gone)).rejects.toBe(missing);
    spoil = (bytes) => bytes;
    expect(await segments.replay(jobAt(4))).toMatchObject({ outcome: 'pass' });
    await segments.close();
  });

  it('redoes the same where a record cannot be read in parts', async () => {
    const segments = open();
    expect(await segments.replay(jobAt(4, { part: null }))).toMatchObject({ outcome: 'pass' });
    await segments.close();
  });
});
