/** @file A checkpoint folder of preset `tiny` with the tokenizer of the tiny corpus: hybrid layers, experts, a chat template. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CORPUS_DIR } from '../../src/data/prepared.ts';
import { writeHuggingFaceFolder } from '../../src/export/hugging-face.ts';
import { floatsOf, initParams } from '../../src/model/quasar-long/init.ts';
import { presetConfig } from '../../src/model/quasar-long/presets.ts';

/** Initial values, scaled up until tokens, routers and branches matter to the logits: texts differ, and end at times. */
export async function writeSmallCheckpoint(folder: string): Promise<void> {
  const config = presetConfig('tiny', { max_position_embeddings: 512 });
  const params = initParams(config, 5);
  for (const name of params.keys())
    if (/weight$|experts/.test(name) && !name.includes('norm'))
      floatsOf(params, name).forEach((value, i, all) => void (all[i] = value * 3));
  const file = (name: string) => [name, readFileSync(join(CORPUS_DIR, 'tiny', name))] as const;
  await writeHuggingFaceFolder(folder, {
    ...{ config, params },
    files: new Map([file('tokenizer.json'), file('tokenizer_config.json')]),
    card: { name: 'small', licence: 'apache-2.0', summary: '', numbers: [], sources: [], notes: [] },
  });
}
