/**
 * @file Renders a release as a checkpoint folder in Hugging Face layout, from the fragment artifacts that the journal
 * names. The record is the release event; a folder that is lost or damaged can be written again.
 */
import { join } from 'node:path';
import { ExportError } from '../../export/errors.ts';
import { writeHuggingFaceFolder } from '../../export/hugging-face.ts';
import type { ModelCard } from '../../export/model-card.ts';
import { manifestOf } from '../../journal/queries.ts';
import type { RunState } from '../../journal/state.ts';
import { decodeFragment } from '../../merge/codecs/fragment-file.ts';
import { unpackFragment } from '../../merge/fragment-values.ts';
import { countParameters } from '../../model/quasar-long/contract.ts';
import { floatsOf, initTensor } from '../../model/quasar-long/init.ts';
import type { ArtifactRef } from '../../protocol/manifest.ts';
import { fromDecimal } from '../../protocol/names.ts';
import type { Store } from '../../store/port.ts';
import { runModelOf } from '../run-model.ts';

export interface ReleaseWriterOptions {
  /** Folder under which `release-N` appears; must exist. */
  readonly dir: string;
  readonly store: Store;
  /** Artifacts of all fragments when the release was journaled. */
  readonly heads: readonly ArtifactRef[];
}

export const releaseFolder = (dir: string, release: number): string => join(dir, `release-${release}`);

/** Writes `release-N` unless it is there, and says where it is. @throws ExportError, StoreError */
export async function writeRelease(run: RunState, release: number, options: ReleaseWriterOptions): Promise<string> {
  const folder = releaseFolder(options.dir, release);
  const manifest = manifestOf(run);
  const card = releaseCard(run, release);
  const { config, contract, plan } = runModelOf(manifest);
  const params = new Map(contract.map((spec) => [spec.name, initTensor(config, spec, manifest.seed)]));
  for (const [id, artifact] of options.heads.entries()) {
    const fragment = plan.fragments[id]!;
    const values = decodeFragment('f32', fragment, await options.store.get(artifact));
    unpackFragment(fragment, values, (name) => floatsOf(params, name));
  }
  const { tokenizer } = manifest;
  const files = new Map([
    ['tokenizer.json', await options.store.get(tokenizer.artifact)],
    ['tokenizer_config.json', await options.store.get(tokenizer.configArtifact)],
  ]);
  try {
    await writeHuggingFaceFolder(folder, { config, params, files, card });
  } catch (error) {
    if (!(error instanceof ExportError && error.code === 'TARGET_EXISTS')) throw error;
  }
  return folder;
}

/** Follows from the fold once a validator has evaluated the release; nothing that is journaled later changes it. */
export function releaseCard(run: RunState, release: number): ModelCard {
  const manifest = manifestOf(run);
  const { config } = runModelOf(manifest);
  const record = run.releases.find(({ body }) => body.release === release)!;
  const counts = countParameters(config);
  const losses = run.evaluations.filter((evaluation) => evaluation.release === release).at(0)?.losses ?? {};
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
      ['Active parameters per token', counts.active.toLocaleString('en-US')],
      ['Counted tokens', Math.round(fromDecimal(record.body.countedTokens)).toLocaleString('en-US')],
      ...Object.entries(losses).map(
        ([stage, loss]) => [`Loss, ${stage}`, `${fromDecimal(loss).toFixed(4)} nats a token`] as const,
      ),
    ],
    sources: manifest.data.shards
      .filter((shard) => shard.stage === 'train')
      .map(({ source, tokens, licence }) => ({ name: source, tokens, licence })),
    notes: ['Trained on a small corpus to show that the network works; it is no assistant.'],
  };
}
