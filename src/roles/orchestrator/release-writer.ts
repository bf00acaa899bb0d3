/**
 * @file Renders a release as a checkpoint folder in Hugging Face layout, from the fragment artifacts that the journal
 * names, in parts: memory does not grow with the model. The record is the release event; a folder that is lost or damaged can be written again.
 */
import { type FileHandle, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { CheckpointContent, ReadSpec } from '../../export/checkpoint-files.ts';
import { ExportError } from '../../export/errors.ts';
import { writeCheckpointFolder } from '../../export/hugging-face.ts';
import type { ModelCard } from '../../export/model-card.ts';
import { manifestOf, phaseOf } from '../../journal/queries.ts';
import type { EvaluationRecord, RunState } from '../../journal/state.ts';
import { countParameters, type TensorSpec } from '../../model/quasar-long/contract.ts';
import { frozenNames } from '../../model/quasar-long/frozen.ts';
import { pieceBytes } from '../../protocol/artifact.ts';
import type { ArtifactRef, RunManifest } from '../../protocol/manifest.ts';
import { leafHash, treeHash } from '../../protocol/merkle.ts';
import type { EventBody } from '../../protocol/messages.ts';
import { fromDecimal, type Hash } from '../../protocol/names.ts';
import { StoreError } from '../../store/errors.ts';
import type { Store } from '../../store/port.ts';
import { FrozenTensors } from '../../training/frozen-tensors.ts';
import { toHex } from '../../util/bytes.ts';
import { nodeSha256 } from '../../util/node-sha256.ts';
import { FragmentTensors, partsOf } from '../fragment-tensors.ts';
import { configOfPhase } from '../phase-config.ts';
import { fetchFrozen, runModelOf } from '../run-model.ts';

/** Before the names of tasks in an `evaluation`. */
const taskPrefix = 'task/';

export interface ReleaseWriterOptions {
  /** Folder under which `release-N` appears; must exist. */
  readonly dir: string;
  readonly store: Store;
  /** Artifacts of all fragments when the release was journaled. */
  readonly heads: readonly ArtifactRef[];
}

export const releaseFolder = (dir: string, release: number): string => join(dir, `release-${release}`);

/** Writes `release-N` unless it is there, and says where it is. @throws ExportError, StoreError, TrainingError */
export async function writeRelease(run: RunState, release: number, options: ReleaseWriterOptions): Promise<string> {
  const folder = releaseFolder(options.dir, release);
  const manifest = manifestOf(run);
  const card = releaseCard(run, release);
  const model = runModelOf(manifest);
  const { config, contract } = model;
  const frozen = new FrozenTensors(contract, manifest.recipe.frozen?.dtype ?? 'f32');
  const frozenBytes = await fetchFrozen(run, options.store);
  if (frozenBytes !== null) frozen.load(frozenBytes);
  const { heads, store } = options;
  const tensors = new FragmentTensors({ model, heads, seed: manifest.seed, read: partsOf(store) });
  const read: ReadSpec = (spec) => frozen.floats(spec.name) ?? tensors.parts(spec);
  const { tokenizer } = manifest;
  const files = new Map([
    ['tokenizer.json', await options.store.get(tokenizer.artifact)],
    ['tokenizer_config.json', await options.store.get(tokenizer.configArtifact)],
  ]);
  try {
    const ofPhase = configOfPhase(config, phaseOf(run, run.releases[release]!.phase));
    const content = { config: ofPhase, files, card, ...storageOf(manifest, contract) };
    await writeCheckpointFolder(folder, content, read, () => tensors.settle());
  } catch (error) {
    // States are read while the files are written: what is wrong is then the store's.
    if (error instanceof ExportError && error.cause instanceof StoreError) throw error.cause;
    if (!(error instanceof ExportError && error.code === 'TARGET_EXISTS')) throw error;
  }
  return folder;
}

/** Dtypes of a run's checkpoints: of all parameters, and of those that are frozen. */
export function storageOf(
  { release, recipe }: Pick<RunManifest, 'recipe'> & { readonly release: Pick<RunManifest['release'], 'dtype'> },
  contract: readonly TensorSpec[],
): Pick<CheckpointContent, 'dtype' | 'narrow'> {
  const narrow = recipe.frozen?.dtype === 'bf16' ? frozenNames(contract) : new Set<string>();
  return { dtype: release.dtype === 'bf16' ? 'BF16' : 'F32', narrow };
}

/** Every file of a folder (but hidden ones), named by its bytes, in order of name. A piece is in memory at a time. */
export async function describeFiles(folder: string): Promise<EventBody<'release-published'>['files']> {
  const files: EventBody<'release-published'>['files'] = [];
  for (const name of (await readdir(folder)).sort())
    if (!name.startsWith('.')) files.push({ name, artifact: await artifactOfFile(join(folder, name)) });
  return files;
}

async function artifactOfFile(path: string): Promise<ArtifactRef> {
  const file = await open(path, 'r');
  try {
    const piece = new Uint8Array(pieceBytes);
    const leaves: Uint8Array[] = [];
    let sizeBytes = 0;
    for (;;) {
      const filled = await fill(file, piece, sizeBytes);
      if (filled > 0) leaves.push(leafHash(piece.subarray(0, filled), nodeSha256));
      sizeBytes += filled;
      if (filled < pieceBytes) return { root: toHex(treeHash(leaves, nodeSha256)) as Hash, sizeBytes };
    }
  } finally {
    await file.close();
  }
}

/** Reads until the buffer is full or the file ends. */
async function fill(file: FileHandle, buffer: Uint8Array, from: number): Promise<number> {
  let filled = 0;
  while (filled < buffer.byteLength) {
    const { bytesRead } = await file.read(buffer, filled, buffer.byteLength - filled, from + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return filled;
}

/** Follows from the fold once a validator has evaluated the release; nothing that is journaled later changes it. */
export function releaseCard(run: RunState, release: number): ModelCard {
  const manifest = manifestOf(run);
  const { config } = runModelOf(manifest);
  const record = run.releases.find(({ body }) => body.release === release)!;
  const counts = countParameters(config);
  const evaluation = run.evaluations.find((each) => each.release === release);
  const losses = evaluation?.losses ?? {};
  const hex = run.run!.id;
  return {
    name: `${manifest.name} release ${release}`,
    licence: 'apache-2.0',
    summary: `A quasar_long checkpoint (preset ${manifest.model.preset}) trained by an Accrete network, assembled from the absolute states of its ${run.fragments.length} fragments.`,
    numbers: [
      ['Run', hex],
      ['Release', String(release)],
      ['Release id', record.id],
      ['Tree head', record.body.treeHead],
      ['Parameters', counts.total.toLocaleString('en-US')],
      ['Stored as', storedAs(manifest)],
      ['Active parameters per token', counts.active.toLocaleString('en-US')],
      ['Counted tokens', Math.round(fromDecimal(record.body.countedTokens)).toLocaleString('en-US')],
      // A journal that is read again has the names in canonical order, the syncer as they came: the card must be one.
      ...Object.entries(losses)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([metric, value]) => evaluationRow(metric, fromDecimal(value))),
      ...routerRows(evaluation?.routers),
    ],
    sources: manifest.data.shards
      .filter((shard) => shard.stage === 'train')
      .map(({ source, tokens, licence }) => ({ name: source, tokens, licence })),
    notes: ['Trained on a small corpus to show that the network works; it is no assistant.'],
  };
}

const evaluationRow = (metric: string, value: number): readonly [string, string] =>
  metric.startsWith(taskPrefix)
    ? [`Task, ${metric.slice(taskPrefix.length)}`, `${(100 * value).toFixed(1)} % right`]
    : [`Loss, ${metric}`, `${value.toFixed(4)} nats a token`];

function routerRows(routers: EvaluationRecord['routers']): (readonly [string, string])[] {
  if (routers === undefined) return [];
  const { entropy, imbalance, deadExperts } = routers;
  const worst = `entropy ${fromDecimal(entropy).toFixed(3)} of 1, greatest load ${fromDecimal(imbalance).toFixed(2)} times the mean`;
  return [['Experts on held-out text, worst layer', `${worst}; ${deadExperts} of all layers unused`]];
}

function storedAs({ release, recipe }: RunManifest): string {
  const floats = release.dtype === 'bf16' ? 'bfloat16, rounded from float32 to nearest even' : 'float32';
  return recipe.frozen === undefined ? floats : `${floats}; frozen tensors ${longNames[recipe.frozen.dtype]}`;
}

const longNames = { f32: 'float32', bf16: 'bfloat16' } as const;
