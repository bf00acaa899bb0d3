/** @file A checkpoint of others as the start of a run: fetched if it is far away, checked against the parameter contract and the run's text. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Catalog } from '../../data/catalog.ts';
import { openCheckpoint } from '../../model/checkpoint.ts';
import { initTensor } from '../../model/quasar-long/init.ts';
import type { RunManifest } from '../../protocol/manifest.ts';
import { describeFiles } from '../../roles/orchestrator/release-writer.ts';
import type { StartCheckpoint } from '../../roles/orchestrator/run-init.ts';
import { hubCheckpoint } from '../../roles/run-file.ts';
import { hashArtifact } from '../../store/node-hash.ts';
import { contractOf } from '../../training/recipe.ts';
import { UsageError } from '../../util/errors.ts';
import { readTokenizerFiles } from '../checkpoint-tokenizer.ts';
import type { Io } from '../io.ts';
import { fetched } from '../pull/place.ts';

export interface OpenStart extends StartCheckpoint {
  close(): Promise<void>;
}

/**
 * Names and the tokenizer are checked now, shapes and values of each tensor when it is read.
 * @throws UsageError (place, tokenizer), ModelError (names, shapes, values), PullError
 */
export async function openStart(
  from: string,
  {
    catalog,
    seed,
    recipe,
  }: { readonly catalog: Catalog; readonly seed: string; readonly recipe: RunManifest['recipe'] },
  io: Io,
): Promise<OpenStart> {
  const { folder, source } = await placeOf(from, io);
  const checkpoint = await openCheckpoint(folder);
  try {
    const { config } = checkpoint;
    if (config.vocab_size < catalog.vocabSize)
      throw new UsageError(
        `--from: ${source} has ${config.vocab_size} token ids, the text of the run has ${catalog.vocabSize}: prepare the text with the checkpoint's tokenizer`,
      );
    await requireSameTokenizer(folder, source, catalog);
    await requireSameConstants(checkpoint, { source, seed, recipe });
    const files = (await describeFiles(folder)).filter(({ name }) => /\.safetensors$|^config\.json$/.test(name));
    return { config, read: (name) => checkpoint.read(name), start: { source, files }, close: () => checkpoint.close() };
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}

async function placeOf(from: string, io: Io): Promise<{ folder: string; source: string }> {
  if (!/^hf:\/\//i.test(from)) {
    const folder = resolve(io.cwd, from);
    if (!existsSync(join(folder, 'config.json')))
      throw new UsageError(
        `--from: there is no config.json in ${folder}; expected a checkpoint folder in Hugging Face layout, or hf://owner/name[@revision]`,
      );
    // A path says something of the owner's machine and nothing of the weights.
    return {
      folder,
      source: `config ${createHash('sha256')
        .update(readFileSync(join(folder, 'config.json')))
        .digest('hex')
        .slice(0, 16)}`,
    };
  }
  const [, repo, revision = null] = hubCheckpoint.exec(from) ?? [];
  if (repo === undefined)
    throw new UsageError(`--from: expected a checkpoint folder or hf://owner/name[@revision], got '${from}'`);
  const { folder, name } = await fetched({ kind: 'hub', repo }, { release: null, revision }, io);
  return { folder, source: `hf://${name.replace(' at ', '@')}` };
}

async function requireSameTokenizer(folder: string, source: string, catalog: Catalog): Promise<void> {
  const { json } = await readTokenizerFiles(folder);
  const found = hashArtifact(new TextEncoder().encode(json));
  if (found.root === catalog.tokenizer.artifact.root) return;
  throw new UsageError(
    `--from: the tokenizer.json of ${source} (${found.root.slice(0, 12)}, ${found.sizeBytes} bytes) is not the one that the run's text was made with (${catalog.tokenizer.artifact.root.slice(0, 12)}, ${catalog.tokenizer.artifact.sizeBytes} bytes): its ids would mean other words. Prepare the text with the checkpoint's tokenizer`,
  );
}

/** What training leaves alone and the recipe does not freeze comes from the seed in every release: it must be what the checkpoint has. */
async function requireSameConstants(
  checkpoint: Pick<StartCheckpoint, 'config' | 'read'>,
  { source, seed, recipe }: { readonly source: string; readonly seed: string; readonly recipe: RunManifest['recipe'] },
): Promise<void> {
  const { config } = checkpoint;
  for (const spec of contractOf(config, recipe)) {
    if (spec.kind !== 'constant') continue;
    const [made, theirs] = [initTensor(config, spec, seed), await checkpoint.read(spec.name)];
    const isNear = (value: number | bigint, i: number): boolean =>
      Math.abs(Number(value) - Number(theirs[i])) <= Math.abs(Number(value)) / 128;
    if (Array.from(made as ArrayLike<number | bigint>).every(isNear)) continue;
    throw new UsageError(
      spec.isBuffer
        ? `--from: ${spec.name} of ${source} is drawn at random there, and by the run's seed here: this checkpoint cannot be gone on with`
        : `--from: nothing trains ${spec.name}, and ${source} has other numbers there than the run's seed gives; freeze it, so that it is kept (recipe.frozen, or --freeze '*.${spec.name.split('.').slice(-2).join('.')}')`,
    );
  }
}
