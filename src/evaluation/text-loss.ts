/**
 * @file Loss on texts by source, with intervals: nats a token, perplexity, and bits a byte, which models with different
 * tokenizers share. Every sequence counts as one draw.
 */
import type { Sequence } from '../data/shards.ts';
import type { Params } from '../model/quasar-long/init.ts';
import type { Evaluator } from './evaluator.ts';
import { type Estimate, type PairedTest, pairedT, weightedMean } from './statistics.ts';

export interface TextLoss {
  readonly loss: Estimate;
  /** exp of the loss, and of its bounds. */
  readonly perplexity: { readonly value: number; readonly low: number; readonly high: number };
  /** Of the text that is predicted; null where it has no bytes. */
  readonly bitsPerByte: Estimate | null;
  readonly tokens: number;
  readonly bytes: number;
  /** By sequence, for comparing models. */
  readonly sequenceLosses: Float64Array;
  readonly sequenceTokens: Float64Array;
}

/** Texts by name (`held-out/moby-dick`); several of them are told pooled, too, as `all`. Names without labels are left out. */
export async function textLosses(
  evaluator: Evaluator,
  params: Params,
  texts: ReadonlyMap<string, readonly Sequence[]>,
  byteLength: (id: number) => number,
): Promise<ReadonlyMap<string, TextLoss>> {
  const results = new Map<string, TextLoss>();
  const all: Measured[] = [];
  for (const [name, rows] of texts) {
    const { losses, tokens } = await evaluator.sequenceLosses(params, rows);
    const measured = rows
      .map((row, i) => ({ loss: losses[i]!, tokens: tokens[i]!, bytes: predictedBytes(row, byteLength) }))
      .filter((row) => row.tokens > 0);
    if (measured.length === 0) continue;
    results.set(name, textLossOf(measured));
    all.push(...measured);
  }
  if (results.size > 1) results.set('all', textLossOf(all));
  return results;
}

interface Measured {
  readonly loss: number;
  readonly tokens: number;
  readonly bytes: number;
}

export function textLossOf(rows: readonly Measured[]): TextLoss {
  const sequenceLosses = Float64Array.from(rows, (row) => row.loss);
  const sequenceTokens = Float64Array.from(rows, (row) => row.tokens);
  const loss = weightedMean(sequenceLosses, sequenceTokens);
  const withBytes = rows.filter(({ bytes }) => bytes > 0);
  const bits = withBytes.map((row) => (row.loss * row.tokens) / row.bytes / Math.LN2);
  return {
    ...{ loss, sequenceLosses, sequenceTokens },
    perplexity: { value: Math.exp(loss.value), low: Math.exp(loss.low), high: Math.exp(loss.high) },
    bitsPerByte:
      withBytes.length === 0
        ? null
        : weightedMean(
            bits,
            withBytes.map(({ bytes }) => bytes),
          ),
    tokens: rows.reduce((sum, row) => sum + row.tokens, 0),
    bytes: rows.reduce((sum, row) => sum + row.bytes, 0),
  };
}

/** Bytes of the tokens that are predicted: of the labels that count. */
function predictedBytes({ labels }: Sequence, byteLength: (id: number) => number): number {
  return labels.reduce((sum, label) => sum + (label < 0n ? 0 : byteLength(Number(label))), 0);
}

/** Second minus first, on the same sequences. */
export function compareTexts(first: TextLoss, second: TextLoss): PairedTest {
  return pairedT(first.sequenceLosses, second.sequenceLosses, first.sequenceTokens);
}
