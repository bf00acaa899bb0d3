/** @file A checkpoint of others as the start of a run: fetched if it is far away, checked against the parameter contract and the run's text. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Catalog } from '../../data/catalog.ts';
import { openCheckpoint } from '../../model/checkpoint.ts';
import { buildContract } from '../../model/quasar-long/contract.ts';
import { initTensor } from '../../model/quasar-long/init.ts';
import { describeFiles } from '../../roles/orchestrator/release-writer.ts';
import type { StartCheckpoint } from '../../roles/orchestrator/run-init.ts';
import { hashArtifact } from '../../store/node-hash.ts';
import { UsageError } from '../../util/errors.ts';
import { readTokenizerFiles } from '../checkpoint-tokenizer.ts';
import type { Io } from '../io.ts';
import { bring, openSource, originOf, ownPlace } from '../pull/place.ts';

export interface OpenStart extends StartCheckpoint {
  close(): Promise<void>;
}

/**
 * Names and the tokenizer are checked now, shapes and values of each tensor when it is read.
 * @throws UsageError (place, tokenizer), ModelError (names, shapes, values), PullError
 */
export async function openStart(
  from: string,
  { catalog, seed }: { readonly catalog: Catalog; readonly seed: string },
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
    // What releases make anew from the seed must be what the checkpoint has.
    for (const spec of buildContract(config)) {
      if (spec.kind !== 'constant') continue;
      const [made, theirs] = [initTensor(config, spec, seed), await checkpoint.read(spec.name)];
      const differs =
        made.length !== theirs.length ||
        made.some((value, i) => Math.abs(Number(value) - Number(theirs[i])) > Math.abs(Number(value)) / 128);
      if (differs)
        throw new UsageError(
          `--from: ${spec.name} of ${source} is drawn at random there; runs make it from their seed, so that this checkpoint cannot be gone on with`,
        );
    }
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
  const [, name, revision] = /^(hf:\/\/[^@]*)(?:@(.+))?$/i.exec(from)!;
  const source = await openSource(originOf(name!), { release: null, revision: revision ?? null, takesAll: false }, io);
  const folder = ownPlace(source);
  if (!existsSync(folder)) {
    io.err(`fetching ${source.name} to ${folder}`);
    await bring(source, folder, { parallel: 4, io, isQuiet: false });
  }
  return { folder, source: `hf://${source.name.replace(' at ', '@')}` };
}

async function requireSameTokenizer(folder: string, source: string, catalog: Catalog): Promise<void> {
  const { json } = await readTokenizerFiles(folder);
  const found = hashArtifact(new TextEncoder().encode(json));
  if (found.root === catalog.tokenizer.artifact.root) return;
  throw new UsageError(
    `--from: the tokenizer.json of ${source} (${found.root.slice(0, 12)}, ${found.sizeBytes} bytes) is not the one that the run's text was made with (${catalog.tokenizer.artifact.root.slice(0, 12)}, ${catalog.tokenizer.artifact.sizeBytes} bytes): its ids would mean other words. Prepare the text with the checkpoint's tokenizer`,
  );
}
