/** @file The options of `accrete model count`. */
import type { PresetName } from '../../model/quasar-long/presets.ts';
import { UsageError } from '../../util/errors.ts';
import type { Settings } from '../settings.ts';

export interface ModelCountOptions {
  /** Exactly one of the two. */
  readonly config: string | null;
  readonly preset: PresetName | null;
  /** Tokens; null: not asked. */
  readonly context: number | null;
}

export function parseModelCountOptions(settings: Settings): ModelCountOptions {
  if (settings.has('config') === settings.has('preset')) {
    throw new UsageError('accrete model count: expected --config FILE or --preset NAME, and only one of them');
  }
  const context = settings.has('context') ? settings.count('context', { min: 1, max: 2 ** 31 }) : null;
  if (settings.has('config')) return { config: settings.path('config'), preset: null, context };
  return {
    config: null,
    preset: settings.choice('preset', ['tiny', 'nano', 'nano-gguf', 'small', 'quasar-preview']),
    context,
  };
}
