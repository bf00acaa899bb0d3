/** @file Small models of preset `tiny` with the tokenizer of the tiny corpus: a hybrid checkpoint folder, and a GGUF file without hybrid layers. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CORPUS_DIR } from '../../src/data/prepared.ts';
import { writeGguf } from '../../src/export/gguf/write.ts';
import { writeHuggingFaceFolder } from '../../src/export/hugging-face.ts';
import type { QuasarLongConfig } from '../../src/model/quasar-long/config.ts';
import { floatsOf, initParams, type Params } from '../../src/model/quasar-long/init.ts';
import { presetConfig } from '../../src/model/quasar-long/presets.ts';

const context = 512;
const read = (name: string): Buffer => readFileSync(join(CORPUS_DIR, 'tiny', name));

/** Initial values, scaled up until tokens, routers and branches matter to the logits: texts differ, and end at times. */
function livelyParams(config: QuasarLongConfig): Params {
  const params = initParams(config, 5);
  for (const name of params.keys())
    if (/weight$|experts/.test(name) && !name.includes('norm'))
      floatsOf(params, name).forEach((value, i, all) => void (all[i] = value * 3));
  return params;
}

export async function writeSmallCheckpoint(folder: string): Promise<void> {
  const config = presetConfig('tiny', { max_position_embeddings: context });
  await writeHuggingFaceFolder(folder, {
    ...{ config, params: livelyParams(config) },
    files: new Map(['tokenizer.json', 'tokenizer_config.json'].map((name) => [name, read(name)])),
    card: { name: 'small', licence: 'apache-2.0', summary: '', numbers: [], sources: [], notes: [] },
  });
}

export async function writeSmallGguf(path: string): Promise<void> {
  const plain = { hybrid_attention_layers: [], nope_after_position: context, max_position_embeddings: context };
  const config = presetConfig('tiny', plain);
  const params = livelyParams(config);
  const tokenizer = { json: read('tokenizer.json').toString(), config: read('tokenizer_config.json').toString() };
  await writeGguf(path, { config, read: async (name) => params.get(name)!, tokenizer, type: 'F32', name: 'small' });
}
