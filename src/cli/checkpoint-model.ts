/** @file A model by path: a checkpoint folder, or a GGUF file of one. */
import { stat } from 'node:fs/promises';
import type { OpenCheckpoint } from '../model/checkpoint.ts';
import { openCheckpoint } from '../model/checkpoint.ts';
import { buildContract } from '../model/quasar-long/contract.ts';
import type { Params, TensorValues } from '../model/quasar-long/init.ts';

/** Errors are those of `openCheckpoint` and `openGgufModel`. */
export async function openModel(path: string): Promise<OpenCheckpoint> {
  const isFile = await stat(path).then(
    (info) => info.isFile(),
    () => false,
  );
  return isFile ? await (await import('../export/gguf/model.ts')).openGgufModel(path) : await openCheckpoint(path);
}

/** All of it in memory. */
export async function loadModel(path: string): Promise<Pick<OpenCheckpoint, 'config'> & { readonly params: Params }> {
  const model = await openModel(path);
  try {
    const params = new Map<string, TensorValues>();
    for (const { name } of buildContract(model.config)) params.set(name, await model.read(name));
    return { config: model.config, params };
  } finally {
    await model.close();
  }
}
