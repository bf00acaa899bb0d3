/**
 * @file What an evaluation found, as it is written to files: version 1. Intervals are of 95 %; a bound that one item cannot
 * give is null. Read back with bounds, for cards and comparisons.
 */
import { z } from 'zod';
import type { Estimate, PairedTest } from './statistics.ts';
import type { TaskComparison, TaskScores } from './tasks/score.ts';
import type { TextLoss } from './text-loss.ts';

const name = z.string().min(1).max(200);
const estimateSchema = z.strictObject({
  value: z.number(),
  standardError: z.number().nullable(),
  low: z.number().nullable(),
  high: z.number().nullable(),
  items: z.int().min(1),
});
const pairedSchema = z.strictObject({
  test: z.enum(['paired t', 'McNemar, exact']),
  /** Second minus first. */
  difference: estimateSchema,
  p: z.number().min(0).max(1),
});

export const evalReportSchema = z.strictObject({
  version: z.literal(1),
  /** The checkpoint's folder or file, without its path. */
  checkpoint: name,
  seed: z.int().min(0),
  /** Null: no prepared corpus was read. */
  corpus: name.nullable(),
  seqLen: z.int().min(2),
  texts: z.record(
    name,
    z.strictObject({
      loss: estimateSchema,
      perplexity: z.strictObject({ value: z.number(), low: z.number().nullable(), high: z.number().nullable() }),
      bitsPerByte: estimateSchema.nullable(),
      tokens: z.int().min(0),
      bytes: z.int().min(0),
    }),
  ),
  tasks: z.record(
    name,
    z.strictObject({
      shots: z.int().min(0),
      acc: estimateSchema,
      accNorm: estimateSchema,
      chance: z.number().min(0).max(1),
      truncated: z.int().min(0),
    }),
  ),
  comparison: z
    .strictObject({
      /** The second checkpoint. */
      checkpoint: name,
      texts: z.record(name, pairedSchema),
      tasks: z.record(name, z.strictObject({ acc: pairedSchema, accNorm: pairedSchema })),
    })
    .optional(),
});
export type EvalReport = z.infer<typeof evalReportSchema>;

export interface EvalFindings {
  readonly checkpoint: string;
  readonly seed: number;
  readonly corpus: string | null;
  readonly seqLen: number;
  readonly texts: ReadonlyMap<string, TextLoss>;
  readonly tasks: ReadonlyMap<string, TaskScores>;
}

export interface EvalComparison {
  readonly checkpoint: string;
  readonly texts: ReadonlyMap<string, PairedTest>;
  readonly tasks: ReadonlyMap<string, TaskComparison>;
}

export function evalReportOf(findings: EvalFindings, comparison: EvalComparison | null): EvalReport {
  const { checkpoint, seed, corpus, seqLen } = findings;
  return {
    ...{ version: 1, checkpoint, seed, corpus, seqLen },
    texts: mapped(findings.texts, ({ loss, perplexity, bitsPerByte, tokens, bytes }) => ({
      loss: estimate(loss),
      perplexity: { value: perplexity.value, low: finite(perplexity.low), high: finite(perplexity.high) },
      bitsPerByte: bitsPerByte === null ? null : estimate(bitsPerByte),
      ...{ tokens, bytes },
    })),
    tasks: mapped(findings.tasks, ({ shots, acc, accNorm, chance, truncated }) => ({
      ...{ shots, acc: estimate(acc), accNorm: estimate(accNorm), chance, truncated },
    })),
    ...(comparison === null
      ? {}
      : {
          comparison: {
            checkpoint: comparison.checkpoint,
            texts: mapped(comparison.texts, paired),
            tasks: mapped(comparison.tasks, ({ acc, accNorm }) => ({ acc: paired(acc), accNorm: paired(accNorm) })),
          },
        }),
  };
}

function mapped<T, U>(values: ReadonlyMap<string, T>, turn: (value: T) => U): Record<string, U> {
  return Object.fromEntries([...values].map(([key, value]) => [key, turn(value)]));
}

const finite = (value: number): number | null => (Number.isFinite(value) ? value : null);

const estimate = ({ value, standardError, low, high, items }: Estimate) => ({
  ...{ value, items, standardError: finite(standardError), low: finite(low), high: finite(high) },
});

const paired = ({ test, difference, p }: PairedTest) => ({ test, difference: estimate(difference), p });
