/** @file Makes sure that the text of a preset is prepared before a command trains on it. */
import { spawnSync } from 'node:child_process';
import { loadCatalog } from '../data/prepared.ts';
import { BaseError } from '../util/errors.ts';
import { corpusDir, setupScript } from './paths.ts';

export class SetupError extends BaseError<'SETUP_FAILED'> {}

/** Presets of one tokenizer share their text. */
export const corpusPresetOf = (preset: string): string => (preset === 'nano-gguf' ? 'nano' : preset);

/** Prepares it if that has not been done; progress goes to standard error. @throws SetupError */
export function ensureCorpus(modelPreset: string): void {
  const preset = corpusPresetOf(modelPreset);
  try {
    loadCatalog(corpusDir, preset);
  } catch (cause) {
    if (!(cause instanceof BaseError) || cause.code !== 'NOT_PREPARED') throw cause;
    const done = spawnSync(process.execPath, [setupScript, '--preset', preset], { stdio: ['ignore', 2, 2] });
    if (done.status === 0) return;
    const sentence = 'the text corpus could not be prepared, the reason is above; type: ./bin/accrete doctor';
    throw new SetupError('SETUP_FAILED', sentence, { cause });
  }
}
