/** @file How tokens are drawn, from the options of `accrete chat` and `accrete generate`. */
import { z } from 'zod';
import type { SamplingOptions } from '../model/quasar-long/sampling.ts';
import { UsageError } from '../util/errors.ts';
import type { Settings } from './settings.ts';

export interface ParsedSampling extends SamplingOptions {
  readonly seed: number;
  /** The text ends before the first of these. */
  readonly stops: readonly string[];
}

export const parseSampling = (settings: Settings): ParsedSampling => ({
  temperature: settings.number('temperature', { min: 0, max: 100 }),
  topK: settings.count('top-k', { min: 0, max: 1 << 20 }),
  topP: settings.number('top-p', { min: 0, max: 1 }),
  repetitionPenalty: settings.number('repetition-penalty', { min: 0.01, max: 100 }),
  stops: settings.has('stop') ? parseStops(settings.text('stop')) : [],
  seed: settings.count('seed', { min: 0, max: Number.MAX_SAFE_INTEGER }),
});

const stopList = z.array(z.string().min(1).max(1000)).min(1).max(64);

/** One text, or a JSON list of texts. */
function parseStops(text: string): readonly string[] {
  if (!text.startsWith('[')) return [text];
  try {
    return stopList.parse(JSON.parse(text));
  } catch {
    throw new UsageError(
      `--stop: expected a text, or a JSON list of 1 to 64 texts like '["\\n", "END"]', got '${text}'`,
    );
  }
}
