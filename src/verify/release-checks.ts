/**
 * @file Releases: every file made again from the fragments and compared byte by byte with the folder, and with the artifacts
 * that the journal names. A part of a tensor and the cached fragments are in memory at a time.
 */
import { type CheckpointFile, checkpointFiles, type ReadSpec } from '../export/checkpoint-files.ts';
import { phaseOf } from '../journal/queries.ts';
import type { ArtifactRef } from '../protocol/manifest.ts';
import type { ReadPart } from '../roles/artifact-reader.ts';
import { FragmentTensors } from '../roles/fragment-tensors.ts';
import { releaseCard, storageOf } from '../roles/orchestrator/release-writer.ts';
import { configOfPhase } from '../roles/phase-config.ts';
import type { RunModel } from '../roles/run-model.ts';
import { isMergedInParts } from '../roles/streamed-merge.ts';
import { StoreError } from '../store/errors.ts';
import { ArtifactHasher } from '../store/node-hash.ts';
import { need, Unavailable } from './artifact-cache.ts';
import { type Check, type Visit, type WalkContext, withArtifacts } from './check.ts';

interface Release {
  readonly visit: Visit;
  readonly number: number;
  readonly heads: readonly ArtifactRef[];
}

/** Releases whose heads are remembered for an event that names their files. */
const keptReleases = 64;

export class ReleaseChecks implements Check {
  readonly #releases = new Map<number, Release>();
  readonly #done = new Set<number>();
  #folders: readonly number[] = [];

  async after(visit: Visit, context: WalkContext): Promise<void> {
    if (visit.kind === 'release') {
      const number = visit.body.release;
      this.#releases.set(number, { visit, number, heads: context.state.fragments.map(({ artifact }) => artifact) });
      this.#releases.delete(number - keptReleases);
    }
    if (visit.kind !== 'release-published') return;
    const release = this.#releases.get(visit.body.release);
    this.#done.add(visit.body.release);
    if (release !== undefined && context.isHeavy) await checkRelease({ ...release, visit }, visit.body.files, context);
  }

  async beforeEnd({ record }: WalkContext): Promise<void> {
    this.#folders = await record.releases();
  }

  /** Folders without an event that names their files; and folders of releases that the journal does not have. */
  async end(context: WalkContext): Promise<void> {
    const { state, findings } = context;
    for (const number of this.#folders) {
      const release = this.#releases.get(number);
      const isEvaluated = state.evaluations.some((evaluation) => evaluation.release === number);
      // A folder is written once its release is evaluated, and tells the losses.
      if (!isEvaluated) {
        findings.fail({
          check: 'releases',
          seq: null,
          event: `folder of release ${number}`,
          expected: 'none: the journal has no evaluation of such a release',
          found: 'a folder: the journal was cut, or is another one',
        });
      } else if (!this.#done.has(number) && release !== undefined && context.isHeavy)
        await checkRelease(release, null, context);
    }
    if (
      state.releases.length > this.#done.size &&
      state.run !== null &&
      findings.countOf('releases', 'made again') === 0
    )
      findings.note('releases', 'no folder or list of files to compare');
  }
}

type NamedFiles = readonly { readonly name: string; readonly artifact: ArtifactRef }[];

async function checkRelease(release: Release, named: NamedFiles | null, context: WalkContext): Promise<void> {
  const { record, model, findings } = context;
  if (model === null) return;
  const folder = await record.releaseFiles(release.number);
  // Its fragments are replaced from the next segment on, however late its files were named.
  const replacedIn = release.number + 1;
  const isMade = await withArtifacts(
    'releases',
    release.visit,
    context,
    async () => {
      const { seed } = context.state.run!.manifest;
      const tensors = new FragmentTensors({ model, heads: release.heads, seed, read: stateReader(model, context) });
      const files = await filesOf(release, model, tensors.parts, context);
      const made = new Map<string, ArtifactRef>();
      for (const file of files) made.set(file.name, await checkFile(release, file, folder, context));
      await settled(tensors, release.heads);
      compareNames(release, [...made.keys()], folder?.map(({ name }) => name) ?? null, 'the folder', context);
      compareNames(release, [...made.keys()], named?.map(({ name }) => name) ?? null, 'the journal', context);
      for (const { name, artifact } of named ?? []) {
        const own = made.get(name);
        if (own === undefined || own.root === artifact.root) continue;
        fail(release, name, `${own.root} of ${own.sizeBytes} bytes`, artifact.root, context);
      }
    },
    replacedIn,
  );
  if (!isMade) return;
  findings.count('releases', 'made again');
  if (folder !== null) findings.count('releases', 'folders equal byte by byte or named above');
}

async function filesOf(
  { number }: Release,
  model: RunModel,
  read: ReadSpec,
  context: WalkContext,
): Promise<CheckpointFile[]> {
  const { state, cache } = context;
  const { manifest } = state.run!;
  const files = new Map([
    ['tokenizer.json', await need(cache, manifest.tokenizer.artifact)],
    ['tokenizer_config.json', await need(cache, manifest.tokenizer.configArtifact)],
  ]);
  const content = {
    config: configOfPhase(model.config, phaseOf(state, state.releases[number]!.phase)),
    files,
    card: releaseCard(state, number),
    ...storageOf(manifest, model.contract),
  };
  return checkpointFiles(content, read);
}

/** Throws Unavailable where the bytes that were read are not the states'. */
async function settled(tensors: FragmentTensors, heads: readonly ArtifactRef[]): Promise<void> {
  try {
    await tensors.settle();
  } catch (error) {
    if (!(error instanceof StoreError && error.code === 'HASH_MISMATCH')) throw error;
    const artifact = heads.find(({ root }) => root === error.context.root);
    if (artifact === undefined) throw error;
    throw new Unavailable(artifact, { kind: 'damaged', found: error.message });
  }
}

/** States by way of the cache; those that do not fit into memory in parts. */
function stateReader({ plan }: RunModel, { cache }: WalkContext): ReadPart {
  const { part } = cache;
  if (part !== null && plan.fragments.some(isMergedInParts)) return part;
  return async (artifact, { from, to }) => (await need(cache, artifact)).slice(from, to);
}

/** The file's artifact as it must be; differences from the folder's bytes are told by the part that they are in. */
async function checkFile(
  release: Release,
  file: CheckpointFile,
  folder: readonly { readonly name: string; readonly sizeBytes: number }[] | null,
  context: WalkContext,
): Promise<ArtifactRef> {
  const hasher = new ArtifactHasher();
  const isInFolder = folder?.some(({ name }) => name === file.name) ?? false;
  const reader = isInFolder ? new ByteReader(context.record.releaseBytes(release.number, file.name)) : null;
  let offset = 0;
  let isDifferent = false;
  for await (const { of, bytes } of file.chunks()) {
    hasher.update(bytes);
    if (reader !== null && !isDifferent) {
      const at = await reader.firstDifference(bytes);
      isDifferent = at !== null;
      if (at !== null)
        fail(
          release,
          `${file.name}, ${of}`,
          `its bytes as the fragments give them`,
          `others from byte ${offset + at} on`,
          context,
        );
    }
    offset += bytes.byteLength;
  }
  if (reader !== null && !isDifferent && !(await reader.isAtEnd()))
    fail(release, file.name, `${offset} bytes`, 'more', context);
  await reader?.close();
  return hasher.finish();
}

function compareNames(
  release: Release,
  expected: readonly string[],
  found: readonly string[] | null,
  where: string,
  context: WalkContext,
): void {
  if (found === null) return;
  const [a, b] = [[...expected].sort().join(' '), [...found].sort().join(' ')];
  if (a !== b) fail(release, `the files in ${where}`, a, b, context);
}

function fail(
  { visit, number }: Release,
  what: string,
  expected: string,
  found: string,
  { findings }: WalkContext,
): void {
  findings.fail({ check: 'releases', seq: visit.seq, event: `release ${number}: ${what}`, expected, found });
}

/** Compares a stream with expected pieces, whatever the size of its chunks. */
class ByteReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array();

  constructor(bytes: AsyncIterable<Uint8Array>) {
    this.#chunks = bytes[Symbol.asyncIterator]();
  }

  /** Offset in `expected` of the first byte that is not there; null if all are. */
  async firstDifference(expected: Uint8Array): Promise<number | null> {
    for (let at = 0; at < expected.byteLength; ) {
      if (this.#rest.byteLength === 0) {
        const next = await this.#chunks.next();
        if (next.done) return at;
        this.#rest = next.value;
        continue;
      }
      const length = Math.min(this.#rest.byteLength, expected.byteLength - at);
      const [a, b] = [expected.subarray(at, at + length), this.#rest.subarray(0, length)];
      if (Buffer.compare(a, b) !== 0) return at + a.findIndex((byte, i) => byte !== b[i]);
      this.#rest = this.#rest.subarray(length);
      at += length;
    }
    return null;
  }

  async isAtEnd(): Promise<boolean> {
    while (this.#rest.byteLength === 0) {
      const next = await this.#chunks.next();
      if (next.done) return true;
      this.#rest = next.value;
    }
    return false;
  }

  async close(): Promise<void> {
    await this.#chunks.return?.();
  }
}
