/** @file The options of `accrete generate`. */
import { type ParsedSampling, parseSampling } from '../sampling.ts';
import type { Settings } from '../settings.ts';

export interface GenerateCommandOptions extends ParsedSampling {
  readonly prompt: string;
  readonly maxTokens: number;
}

export const parseGenerateOptions = (settings: Settings): GenerateCommandOptions => ({
  prompt: settings.text('prompt'),
  maxTokens: settings.count('max-tokens', { min: 1, max: 1 << 20 }),
  ...parseSampling(settings),
});
