/**
 * @file Writes a checkpoint folder in Hugging Face layout: config.json, generation_config.json, model.safetensors (or
 * shards and their index), the tokenizer's files, README.md. Everything goes to a temporary name beside the target, is
 * synced, and appears by one rename: a folder of that name is whole or absent. Never overwrites.
 */
import { mkdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { buildContract } from '../model/quasar-long/contract.ts';
import type { Params } from '../model/quasar-long/init.ts';
import { elementCount } from '../tensor/contract.ts';
import { writeAll } from '../util/node-write.ts';
import { type CheckpointContent, checkpointFiles, type ReadSpec } from './checkpoint-files.ts';
import { asExportError, isPresent, syncFolder, writeSynced } from './durable.ts';
import { ExportError } from './errors.ts';

export interface HuggingFaceExport extends CheckpointContent {
  readonly params: Params;
}

/**
 * Writes `folder`, which must not exist; its parent must.
 * @throws ExportError; after it, neither the folder nor a temporary one is left
 */
export async function writeHuggingFaceFolder(folder: string, options: HuggingFaceExport): Promise<void> {
  checkParams(options);
  await writeCheckpointFolder(folder, options, (spec) => options.params.get(spec.name)!);
}

/**
 * The same from tensors that are read as they are written. `settle` is asked before the folder gets its name: it may refuse.
 * @throws ExportError; what `read` and `settle` throw
 */
export async function writeCheckpointFolder(
  folder: string,
  content: CheckpointContent,
  read: ReadSpec,
  settle: () => Promise<void> = async () => {},
): Promise<void> {
  const target = resolve(folder);
  if (await isPresent(target))
    throw new ExportError('TARGET_EXISTS', `${target} is there already; choose another name or remove it`);
  const temporary = join(dirname(target), `.${basename(target)}.partial-${process.pid}`);
  try {
    await mkdir(temporary, { recursive: false });
    await writeFiles(temporary, content, read);
    await settle();
    await syncFolder(temporary);
    await rename(temporary, target);
    await syncFolder(dirname(target));
  } catch (cause) {
    await rm(temporary, { recursive: true, force: true });
    throw asExportError(cause, target);
  }
}

function checkParams({ config, params }: HuggingFaceExport): void {
  for (const { name, shape, dtype } of buildContract(config)) {
    const values = params.get(name);
    const isTyped = dtype === 'I64' ? values instanceof BigInt64Array : values instanceof Float32Array;
    if (values?.length !== elementCount(shape) || !isTyped)
      throw new ExportError(
        'BAD_PARAMS',
        `${name}: expected ${elementCount(shape)} numbers of ${dtype}, got ${values ? `${values.length} in ${values.constructor.name}` : 'none'}`,
      );
  }
}

async function writeFiles(folder: string, content: CheckpointContent, read: ReadSpec): Promise<void> {
  for (const { name, chunks } of checkpointFiles(content, read))
    await writeSynced(join(folder, name), async (file) => {
      for await (const { bytes } of chunks()) await writeAll(file, bytes);
    });
}
