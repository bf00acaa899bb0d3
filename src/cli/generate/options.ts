/** @file The options of `accrete generate`. */

import type { Settings } from '../settings.ts';
import { parseThreads } from '../threads.ts';

export interface GenerateCommandOptions {
  readonly checkpoint: string;
  readonly prompt: string;
  readonly maxTokens: number;
  readonly temperature: number;
  /** 0: all. */
  readonly topK: number;
  readonly seed: number;
  readonly threads: number;
}

export function parseGenerateOptions(settings: Settings): GenerateCommandOptions {
  return {
    checkpoint: settings.path('checkpoint'),
    prompt: settings.text('prompt'),
    maxTokens: settings.count('max-tokens', { min: 1, max: 1 << 20 }),
    temperature: settings.number('temperature', { min: 0, max: 100 }),
    topK: settings.count('top-k', { min: 0, max: 1 << 20 }),
    seed: settings.count('seed', { min: 0, max: Number.MAX_SAFE_INTEGER }),
    threads: parseThreads(settings),
  };
}
