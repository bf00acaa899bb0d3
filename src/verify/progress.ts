/**
 * @file What a verification remembers between two sessions: up to which entry, by its hash, the slow checks of a run were
 * done and found nothing. The hash stands for the whole journal before it; another journal never matches.
 */
import { z } from 'zod';
import { artifactRefSchema } from '../protocol/manifest.ts';
import { countSchema, type Hash, hashSchema } from '../protocol/names.ts';
import { checkNames } from './findings.ts';
import type { GoneJson } from './gone.ts';

const progressSchema = z.strictObject({
  version: z.literal(1),
  run: hashSchema,
  /** Number and hash of the last entry whose slow checks are done. */
  seq: countSchema,
  hash: hashSchema,
  /** What those checks were told to begin at. */
  from: countSchema.nullable(),
  /** Bytes that were no longer there, to be judged by the whole journal. */
  gone: z
    .array(
      z.strictObject({
        check: z.enum(checkNames),
        segment: countSchema,
        count: countSchema,
        seq: countSchema,
        event: z.string().max(64),
        artifact: artifactRefSchema,
      }),
    )
    .max(100_000),
});
export type Progress = z.infer<typeof progressSchema>;

/** Where it is kept; one place a run. */
export interface ProgressStore {
  load(run: Hash): Promise<string | null>;
  save(run: Hash, text: string): Promise<void>;
}

/** Null for what is not ours, or of another run or beginning: then everything is checked again. */
export function parseProgress(text: string | null, run: Hash, from: number | null): Progress | null {
  if (text === null) return null;
  try {
    const progress = progressSchema.parse(JSON.parse(text));
    return progress.run === run && progress.from === from ? progress : null;
  } catch {
    return null;
  }
}

export const encodeProgress = (progress: Omit<Progress, 'version' | 'gone'> & { readonly gone: GoneJson }): string =>
  `${JSON.stringify({ version: 1, ...progress })}\n`;
