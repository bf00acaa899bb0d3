/** @file The checkpoint that `accrete export` reads: its tensors, its texts, and a fingerprint of its files. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { readGgufTokenizer } from '../../export/gguf/read-tokenizer.ts';
import type { ModelView } from '../../export/model-view.ts';
import type { OpenCheckpoint } from '../../model/checkpoint.ts';
import { buildContract } from '../../model/quasar-long/contract.ts';
import type { TensorValues } from '../../model/quasar-long/init.ts';
import { openModel } from '../checkpoint-model.ts';
import { readTokenizerFiles } from '../checkpoint-tokenizer.ts';
import type { ExportSource } from './targets.ts';

const maxReadmeBytes = 1 << 20;

export interface OpenSource extends ExportSource {
  close(): Promise<void>;
}

export async function openSource(folder: string, name: string): Promise<OpenSource> {
  const checkpoint = await openModel(folder);
  try {
    return {
      view: await viewOf(checkpoint, folder, name),
      async load() {
        const params = new Map<string, TensorValues>();
        for (const spec of buildContract(checkpoint.config)) params.set(spec.name, await checkpoint.read(spec.name));
        return params;
      },
      close: () => checkpoint.close(),
    };
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}

async function viewOf(checkpoint: OpenCheckpoint, folder: string, name: string): Promise<ModelView> {
  const isFolder = (await stat(folder)).isDirectory();
  return {
    name,
    config: checkpoint.config,
    read: (tensor) => checkpoint.read(tensor),
    tokenizer: isFolder ? await readTokenizerFiles(folder) : await readGgufTokenizer(folder),
    // A GGUF file has none.
    readme: isFolder ? await readReadme(join(folder, 'README.md')) : null,
    source: await fingerprint(folder),
  };
}

async function readReadme(path: string): Promise<string | null> {
  const size = await stat(path).then(
    (info) => info.size,
    () => null,
  );
  return size === null || size > maxReadmeBytes ? null : await readFile(path, 'utf8');
}

/** Names, sizes and times: an export that was interrupted goes on only from the same files. */
async function fingerprint(path: string): Promise<string> {
  const isFolder = (await stat(path)).isDirectory();
  const names = isFolder ? (await readdir(path)).sort() : [''];
  const entries = await Promise.all(
    names.map(async (name) => {
      const { size, mtimeMs } = await stat(join(path, name));
      return `${name} ${size} ${mtimeMs}`;
    }),
  );
  return [path, ...entries].join('\n');
}
