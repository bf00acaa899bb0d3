/**
 * @file `events`: server-sent events. Each message is `id: SEQ` (the last entry that it covers), `event: update` and one line
 * of JSON as below; a client that comes back with `Last-Event-ID` gets what it missed in one message. At most a few
 * messages a second, whatever the run does; a comment line every 15 s keeps the connection.
 */
import { z } from 'zod';
import { code, count, hash, hotkey, name, number } from './common.ts';
import { mergeSchema } from './training.ts';

/** The newest of each kind, oldest first; what does not fit is in `counts` only, and pages read it. */
export const maxLiveRows = 32;

export const updateSchema = z.object({
  /** Entries [fromSeq, toSeq] of the journal. */
  fromSeq: count,
  toSeq: count,
  atMs: count,
  /** By kind of event. */
  counts: z.record(z.string().max(32), count),
  countedTokens: number,
  merges: z.array(mergeSchema).max(maxLiveRows),
  claims: z
    .array(z.object({ claim: hash, hotkey, name, fragment: count, status: z.string().max(16), code: code.nullable() }))
    .max(maxLiveRows),
  verdicts: z.array(z.object({ claim: hash, validator: hotkey, outcome: code, code, atMs: count })).max(maxLiveRows),
  joins: z.array(z.object({ hotkey, name, isPresent: z.boolean(), atMs: count })).max(maxLiveRows),
  releases: z.array(z.object({ release: count, countedTokens: number, atMs: count })).max(maxLiveRows),
  /** New phase, if it changed. */
  phase: count.nullable(),
  /** True where more was missed than is told here: read the pages anew. */
  isPartial: z.boolean(),
});
export type ApiUpdate = z.infer<typeof updateSchema>;

/** `event: pulse`, without an id: what heartbeats say, every few seconds. */
export const pulseSchema = z.object({
  nowMs: count,
  trainingLoss: number.nullable(),
  trainedTokensPerSecond: number.nullable(),
  activeMiners: count,
  activeValidators: count,
});
export type ApiPulse = z.infer<typeof pulseSchema>;
