/** @file The index of pages against the shards: untouched it passes; every way to falsify it is caught by the check `pages`. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { largeCorpus } from '../../tests/support/large-corpus.ts';
import { networkOwner, networkSyncer, newTinyRun } from '../../tests/support/local-network.ts';
import { writeJournal } from '../../tests/support/recorded-run.ts';
import { flipArtifact, removeArtifact, statusOf, summaryOf, verifyFolder } from '../../tests/support/tampering.ts';
import { buildPages, decodePageIndex, encodePageIndex, type PagedShard } from '../data/shard-pages.ts';
import { MemoryJournal } from '../journal/memory.ts';
import { runIdOf } from '../protocol/hash.ts';
import type { ArtifactRef, RunManifest } from '../protocol/manifest.ts';
import type { EventBody } from '../protocol/messages.ts';
import { signMessage } from '../protocol/signing.ts';
import { initRun, syncerDelegation } from '../roles/orchestrator/run-init.ts';
import { startJournal } from '../roles/orchestrator/shell.ts';
import { FsStore } from '../store/fs.ts';
import { hashArtifact } from '../store/node-hash.ts';
import { nodeSha256 } from '../util/node-sha256.ts';
import { FolderRecord } from './folder-record.ts';

const createdAtMs = 1_700_000_000_000;
const { catalog, readFile } = largeCorpus(2);
const large = catalog.shards.filter(({ source }) => source === 'large');

let dir = '';
let store: FsStore;
let body: EventBody<'run'>;
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'accrete-pages-'));
  store = await FsStore.open(join(dir, 'store'));
  const [run] = await initRun(newTinyRun({ catalog, readCatalogFile: readFile, store }));
  body = run.body as EventBody<'run'>;
}, 120_000);
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** The journal of a run that its owner began with this index; nothing else of the store is another. */
async function beginWith(pages: ArtifactRef | undefined): Promise<void> {
  const { pages: _, ...data } = body.manifest.data;
  const manifest: RunManifest = { ...body.manifest, data: pages === undefined ? data : { ...data, pages } };
  const { chainId, netuid } = manifest.ledger;
  const context = { chainId, netuid, run: runIdOf(manifest), seenHead: null };
  const delegation = syncerDelegation({ owner: networkOwner, syncer: networkSyncer, issuedAtMs: createdAtMs });
  const journal = new MemoryJournal();
  const messages = [
    signMessage(networkOwner, 'run', { ...body, manifest }, context),
    signMessage(networkOwner, 'delegate', delegation, context),
  ];
  await startJournal(journal, messages, createdAtMs);
  writeJournal(dir, await journal.read(0, 10));
}

/** An index whose rows of the large shards are changed. */
async function indexWith(change: (row: PagedShard, i: number) => PagedShard | null): Promise<ArtifactRef> {
  const known = decodePageIndex(await store.get(body.manifest.data.pages!), body.manifest.data.shards);
  let i = 0;
  const rows = body.manifest.data.shards.map(({ artifact }) => {
    const row = known.get(artifact.root);
    return row === undefined ? null : change(row, i++);
  });
  const bytes = encodePageIndex(rows);
  const ref = hashArtifact(bytes);
  await store.put(ref, bytes);
  return ref;
}

async function divergencesWith(pages: ArtifactRef | undefined) {
  await beginWith(pages);
  const report = await verifyFolder(dir);
  // Whatever is wrong with the index, the shards are what the manifest names.
  expect(statusOf(report, 'data')).toBe('ok');
  return report.divergences;
}

describe('the index of pages', () => {
  it('of an honest run is that of its shards, also where they cannot be read in parts', async () => {
    await beginWith(body.manifest.data.pages);
    const report = await verifyFolder(dir);
    expect(report.first).toBeNull();
    expect(summaryOf(report, 'pages')).toBe('5 rows of the index, 2 shards whose pages were hashed');
    const part = FolderRecord.prototype.part;
    try {
      FolderRecord.prototype.part = undefined as never;
      expect((await verifyFolder(dir)).checks).toEqual(report.checks);
    } finally {
      FolderRecord.prototype.part = part;
    }
  });

  it('of other bytes than the shard is found out, though every page would be believed by it', async () => {
    const other = readFile(large[1]!).slice();
    other[5] = other[5]! ^ 1;
    const { root, table } = buildPages(other, nodeSha256);
    const ref = hashArtifact(table);
    await store.put(ref, table);
    const pages = await indexWith((row, i) => (i === 1 ? { root, table: ref } : row));
    const [first, ...rest] = await divergencesWith(pages);
    expect(first).toMatchObject({ check: 'pages', seq: 0, event: 'run' });
    expect(first!.expected).toContain(`pages of shard ${large[1]!.artifact.root} of large, train`);
    expect(first!.found).toContain(ref.root);
    expect(rest).toEqual([]);
  });

  it.each<[string, (row: PagedShard, i: number) => PagedShard | null, RegExp]>([
    ['with another table', (row, i) => (i === 0 ? { ...row, table: hashArtifact(Buffer.from('x')) } : row), /^root/],
    ['without a row', (row, i) => (i === 0 ? null : row), /^no row in the index/],
  ])('%s is found out', async (_, change, found) => {
    const divergences = await divergencesWith(await indexWith(change));
    expect(divergences).toMatchObject([{ check: 'pages', seq: 0 }]);
    expect(divergences[0]!.found).toMatch(found);
  });

  it('with a row for a small shard, of another length, or not there, is found out', async () => {
    const rows = body.manifest.data.shards.map(() => ({ root: new Uint8Array(32).fill(7), table: large[0]!.artifact }));
    for (const bytes of [encodePageIndex(rows), new Uint8Array(63)]) {
      const ref = hashArtifact(bytes);
      await store.put(ref, bytes);
      const divergences = await divergencesWith(ref);
      expect(divergences[0], `${bytes.byteLength}`).toMatchObject({ check: 'pages', seq: 0 });
    }
    const [gone] = await divergencesWith(hashArtifact(Buffer.from('nowhere')));
    expect(gone).toMatchObject({ check: 'pages', found: 'nothing in the store' });
  });

  it('whose table is damaged or gone is no use: the table is looked at, too', async () => {
    await beginWith(body.manifest.data.pages);
    const { table } = decodePageIndex(await store.get(body.manifest.data.pages!), body.manifest.data.shards).get(
      large[0]!.artifact.root,
    )!;
    const bytes = await store.get(table);
    flipArtifact(dir, table);
    expect((await verifyFolder(dir)).divergences).toMatchObject([{ check: 'pages' }]);
    removeArtifact(dir, table);
    const { divergences } = await verifyFolder(dir);
    expect(divergences).toMatchObject([{ check: 'pages', found: 'nothing in the store' }]);
    await store.put(table, bytes);
  });

  it('is told to be missing where it is', async () => {
    expect(await divergencesWith(undefined)).toEqual([]);
    const report = await verifyFolder(dir);
    expect(summaryOf(report, 'pages')).toBe('no index: 2 large shards are fetched whole');
  });
});

describe('a sample of the shards', () => {
  it('is whole shards, another one by another seed, and the rest is said not to be checked', async () => {
    await beginWith(body.manifest.data.pages);
    const read = new Set<string>();
    for (let i = 0; i < 12; i++) {
      const report = await verifyFolder(dir, { dataSample: { limitBytes: 20 << 20, seed: `seed ${i}` } });
      expect(report.ok).toBe(true);
      expect(statusOf(report, 'data')).toBe('not checked');
      expect(statusOf(report, 'pages')).toBe('not checked');
      const [, count, of] = /(\d+) of (\d+) shards read, drawn at random/.exec(summaryOf(report, 'pages'))!;
      expect(Number(count)).toBeLessThan(Number(of));
      read.add(summaryOf(report, 'pages'));
    }
    expect(read.size).toBeGreaterThan(1);
  });

  it('finds what lies in it, and is all of a run that is small enough', async () => {
    const pages = await indexWith((row, i) => (i === 0 ? { ...row, root: new Uint8Array(32) } : row));
    await beginWith(pages);
    const found = [];
    for (let i = 0; i < 12; i++) {
      const { ok } = await verifyFolder(dir, { dataSample: { limitBytes: 20 << 20, seed: `seed ${i}` } });
      found.push(ok);
    }
    expect(new Set(found)).toEqual(new Set([true, false]));
    const all = await verifyFolder(dir, { dataSample: { limitBytes: 1 << 30, seed: 'x' } });
    expect(all.divergences).toMatchObject([{ check: 'pages' }]);
    expect(statusOf(all, 'data')).toBe('ok');
  });

  it('of shards that are damaged or cut short says so under `data`', async () => {
    await beginWith(body.manifest.data.pages);
    const { artifact } = large[1]!;
    flipArtifact(dir, artifact);
    const [first] = (await verifyFolder(dir)).divergences;
    expect(first).toMatchObject({ check: 'data', seq: 0 });
    expect(first!.found).toMatch(/^bytes that hash to/);
    removeArtifact(dir, artifact);
    expect((await verifyFolder(dir)).divergences).toMatchObject([{ check: 'data', found: 'nothing in the store' }]);
    await store.put(artifact, readFile(large[1]!));
  });
});
