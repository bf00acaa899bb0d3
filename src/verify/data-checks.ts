/**
 * @file What a run was begun with, byte by byte: tokenizer, start checkpoint, shards; and whether the index of pages, by which
 * machines believe parts of large shards, is that of the shards. One pass over a shard gives both. Of text that is more than was
 * asked for a random sample of whole shards is read: nothing less ties a page to the shard that the manifest names.
 */
import { DataError } from '../data/errors.ts';
import {
  buildPages,
  decodePageIndex,
  groupBytes,
  type PagedShard,
  PageTree,
  pagedFromBytes,
  type ShardPages,
} from '../data/shard-pages.ts';
import type { ArtifactRef, RunManifest, Shard } from '../protocol/manifest.ts';
import { StoreError } from '../store/errors.ts';
import { ArtifactHasher } from '../store/node-hash.ts';
import { equalBytes, toHex } from '../util/bytes.ts';
import { nodeSha256 } from '../util/node-sha256.ts';
import { Rng } from '../util/rng.ts';
import { type Check, divergenceAt, type Visit, type WalkContext } from './check.ts';
import type { CheckName } from './findings.ts';
import type { ArtifactAnswer } from './record.ts';

export interface DataSample {
  /** Bytes of shards that are read; one shard at least. */
  readonly limitBytes: number;
  /** Nobody who made the run may know it. */
  readonly seed: string;
}

export interface DataProgress {
  readonly readBytes: number;
  readonly ofBytes: number;
}

type RunVisit = Extract<Visit, { kind: 'run' }>;
type Fail = (check: CheckName, expected: string, found: string) => void;
type Found = Exclude<ArtifactAnswer, { kind: 'found' }> | { readonly kind: 'found'; readonly pages: ShardPages | null };

export class DataChecks implements Check {
  /** Null: all. */
  readonly #sample: DataSample | null;
  readonly #onProgress: (now: DataProgress) => void;
  readonly #signal: AbortSignal | undefined;

  constructor(options: {
    readonly sample: DataSample | null;
    readonly onProgress?: ((now: DataProgress) => void) | undefined;
    readonly signal?: AbortSignal | undefined;
  }) {
    this.#sample = options.sample;
    this.#onProgress = options.onProgress ?? (() => {});
    this.#signal = options.signal;
  }

  async after(visit: Visit, context: WalkContext): Promise<void> {
    if (visit.kind !== 'run' || !context.isHeavy) return;
    const fail: Fail = (check, expected, found) => context.findings.fail(divergenceAt(check, visit, expected, found));
    await checkFiles(visit, context, fail);
    const { shards } = visit.body.manifest.data;
    const index = await readIndex(visit.body.manifest, context, fail);
    const chosen = sampleOf(shards, this.#sample);
    const ofBytes = sizeOf(chosen);
    let readBytes = 0;
    for (const shard of chosen) {
      this.#signal?.throwIfAborted();
      await this.#checkShard(shard, index, context, fail);
      readBytes += shard.artifact.sizeBytes;
      this.#onProgress({ readBytes, ofBytes });
    }
    tellUnread(shards, chosen, context);
  }

  async #checkShard(
    shard: Shard,
    index: ReadonlyMap<string, PagedShard> | null,
    context: WalkContext,
    fail: Fail,
  ): Promise<void> {
    const { artifact, source, stage } = shard;
    const found = await readShard(artifact, context, this.#signal);
    context.findings.count('data', 'files');
    if (found.kind !== 'found') return fail('data', nameOf(`shard of ${source}, ${stage},`, artifact), foundOf(found));
    if (index === null || found.pages === null) return;
    const { root, table } = found.pages;
    const row = index.get(artifact.root);
    const made = context.artifactOf(table);
    const pagesOf = `pages of shard ${artifact.root} of ${source}, ${stage}`;
    context.findings.count('pages', 'shards whose pages were hashed');
    if (row === undefined || row.table.root !== made.root || !equalBytes(row.root, root))
      return fail(
        'pages',
        `${pagesOf}: root ${toHex(root)}, table ${made.root}`,
        row === undefined ? 'no row in the index' : `root ${toHex(row.root)}, table ${row.table.root}`,
      );
    const stored = await context.record.artifact(row.table);
    if (stored.kind !== 'found') fail('pages', nameOf(`table of the ${pagesOf},`, row.table), foundOf(stored));
  }
}

async function checkFiles({ body }: RunVisit, { record, findings }: WalkContext, fail: Fail): Promise<void> {
  const { tokenizer } = body.manifest;
  const named: [what: string, ArtifactRef][] = [
    ['tokenizer', tokenizer.artifact],
    ['tokenizer config', tokenizer.configArtifact],
    ...body.start.map((artifact, i): [string, ArtifactRef] => [`start of fragment ${i}`, artifact]),
  ];
  for (const [what, artifact] of named) {
    const answer = await record.artifact(artifact);
    findings.count('data', 'files');
    if (answer.kind !== 'found') fail('data', nameOf(what, artifact), foundOf(answer));
  }
}

/** Its form, and which shards have a row, are looked at in full; null: there is no index to compare with. */
async function readIndex(
  { data: { shards, pages } }: RunManifest,
  { record, findings }: WalkContext,
  fail: Fail,
): Promise<ReadonlyMap<string, PagedShard> | null> {
  const large = shards.filter(isLarge).length;
  if (pages === undefined) {
    if (large > 0) findings.note('pages', `no index: ${large} large shards are fetched whole`);
    return null;
  }
  const answer = await record.artifact(pages);
  if (answer.kind !== 'found') {
    fail('pages', nameOf('index of pages', pages), foundOf(answer));
    return null;
  }
  try {
    const index = decodePageIndex(answer.bytes, shards);
    findings.count('pages', 'rows of the index', shards.length);
    for (const { artifact, source, stage } of shards.filter(
      (shard) => !isLarge(shard) && index.has(shard.artifact.root),
    ))
      fail('pages', `no pages of shard ${artifact.root} of ${source}, ${stage}: it is small`, 'a row in the index');
    return index;
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    fail('pages', `64 bytes for each of ${shards.length} shards`, error.message);
    return null;
  }
}

/** Whole, or group by group where it is large: then with its pages. */
async function readShard(
  artifact: ArtifactRef,
  { record }: WalkContext,
  signal: AbortSignal | undefined,
): Promise<Found> {
  if (artifact.sizeBytes < pagedFromBytes || record.part === undefined) {
    const answer = await record.artifact(artifact);
    if (answer.kind !== 'found') return answer;
    return { kind: 'found', pages: artifact.sizeBytes < pagedFromBytes ? null : buildPages(answer.bytes, nodeSha256) };
  }
  const part = record.part.bind(record);
  const read = (from: number): Promise<Uint8Array> => {
    const reading = part(artifact, { from, to: Math.min(artifact.sizeBytes, from + groupBytes) });
    reading.catch(() => {}); // heard of when its turn comes
    return reading;
  };
  const [hasher, tree] = [new ArtifactHasher(), new PageTree(nodeSha256)];
  try {
    let next = read(0);
    for (let at = 0; at < artifact.sizeBytes; at += groupBytes) {
      signal?.throwIfAborted();
      const group = await next;
      // The next is on its way while this one is hashed.
      if (at + groupBytes < artifact.sizeBytes) next = read(at + groupBytes);
      hasher.update(group);
      tree.add(group);
    }
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    if (error.code === 'NOT_FOUND') return { kind: 'missing' };
    if (error.code === 'SIZE_MISMATCH') return { kind: 'damaged', found: error.message };
    throw error;
  }
  const { root } = hasher.finish();
  if (root !== artifact.root) return { kind: 'damaged', found: `bytes that hash to ${root}` };
  return { kind: 'found', pages: tree.finish() };
}

/** In the manifest's order. */
function sampleOf(shards: readonly Shard[], sample: DataSample | null): readonly Shard[] {
  if (sample === null || sizeOf(shards) <= sample.limitBytes) return shards;
  const drawn = new Rng(sample.seed).shuffle(shards.map((_, i) => i));
  const chosen = new Set<number>();
  let left = sample.limitBytes;
  for (const i of drawn) {
    left -= shards[i]!.artifact.sizeBytes;
    if (left < 0 && chosen.size > 0) break;
    chosen.add(i);
  }
  return shards.filter((_, i) => chosen.has(i));
}

function tellUnread(shards: readonly Shard[], chosen: readonly Shard[], { findings }: WalkContext): void {
  if (chosen.length === shards.length) return;
  const said = `${chosen.length.toLocaleString('en-US')} of ${shards.length.toLocaleString('en-US')} shards read, drawn at random (${gib(chosen)} of ${gib(shards)} GiB; --shards all reads all)`;
  findings.unchecked('data', said);
  if (shards.some(isLarge)) findings.unchecked('pages', said);
}

const gib = (shards: readonly Shard[]): string =>
  (sizeOf(shards) / 1024 ** 3).toLocaleString('en-US', { maximumFractionDigits: 1 });
const isLarge = ({ artifact }: Shard): boolean => artifact.sizeBytes >= pagedFromBytes;
const sizeOf = (shards: readonly Shard[]): number => shards.reduce((sum, { artifact }) => sum + artifact.sizeBytes, 0);
const nameOf = (what: string, { root, sizeBytes }: ArtifactRef): string => `${what} ${root} of ${sizeBytes} bytes`;
const foundOf = (answer: Exclude<ArtifactAnswer, { kind: 'found' }>): string =>
  answer.kind === 'missing' ? 'nothing in the store' : answer.found;
