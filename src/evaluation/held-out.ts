/** @file Loss, and how experts are used, on text that is never trained on: held-out documents of the training sources, and another source. */
import {
  evenlySpaced,
  type LoadedShards,
  locateSequence,
  readSequence,
  type Sequence,
  type SequenceRequest,
  type Stage,
  type TextPlace,
} from '../data/shards.ts';
import type { Params } from '../model/quasar-long/init.ts';
import type { Shard } from '../protocol/manifest.ts';
import { type RouterHealth, routerHealthOf } from '../training/router-health.ts';
import { type Evaluator, meanLoss, type SequenceLosses } from './evaluator.ts';

export const heldOutStages = ['held-out', 'held-out-other'] as const satisfies readonly Stage[];
export type HeldOutStage = (typeof heldOutStages)[number];

export interface HeldOutOptions {
  readonly shards: readonly Shard[];
  readonly loaded: LoadedShards;
  readonly seqLen: number;
  /** Sequences of each stage; fewer where a stage holds fewer. */
  readonly sequences: number;
  readonly endOfText: number;
  /** A phase's mixture: how training sources share the held-out sequences. */
  readonly mixture: Readonly<Record<string, number>>;
}

/**
 * Sequences of a stage where they are not of the preset's length: as many tokens as the preset reads, two at least; no
 * more than the preset's count, where they are shorter.
 */
export function heldOutCount(preset: { readonly sequences: number; readonly seqLen: number }, seqLen: number): number {
  const alike = Math.round((preset.sequences * preset.seqLen) / seqLen);
  return Math.min(preset.sequences, Math.max(2, alike));
}

export interface HeldOutSequence extends Sequence {
  /** Of the data, e.g. `moby-dick`. */
  readonly source: string;
}

/** The same sequences for everybody: evenly spaced over each source. Stages without shards are left out. */
export function heldOutSequences(options: HeldOutOptions): ReadonlyMap<HeldOutStage, readonly HeldOutSequence[]> {
  const { shards, loaded, endOfText } = options;
  const stages = new Map<HeldOutStage, readonly HeldOutSequence[]>();
  for (const stage of heldOutStages) {
    const requests = requestsOf(stage, options);
    const rows = requests.map((request) => ({
      ...readSequence(shards, loaded, { ...request, endOfText }),
      source: request.source,
    }));
    if (rows.length > 0) stages.set(stage, rows);
  }
  return stages;
}

/** Where the sequences of `heldOutSequences` lie: for whoever has to fetch them first. */
export function heldOutPlaces(options: Omit<HeldOutOptions, 'loaded' | 'endOfText'>): readonly TextPlace[] {
  const requests = heldOutStages.flatMap((stage) => requestsOf(stage, options));
  return requests.map((request) => ({ ...locateSequence(options.shards, request), length: request.length }));
}

function requestsOf(
  stage: HeldOutStage,
  { shards, seqLen: length, sequences: count, mixture }: Omit<HeldOutOptions, 'loaded' | 'endOfText'>,
): readonly SequenceRequest[] {
  const shares = stage === 'held-out' ? { shares: mixture } : {};
  return evenlySpaced(shards, { stage, length, count, ...shares });
}

export interface HeldOutResult {
  /** Mean loss (nats a token) of each stage, and of each `STAGE/SOURCE` where a stage has several sources. */
  readonly losses: Readonly<Record<string, number>>;
  /** Over the sequences of all stages. */
  readonly routers: readonly RouterHealth[];
}

export async function evaluateHeldOut(
  evaluator: Evaluator,
  params: Params,
  stages: ReadonlyMap<HeldOutStage, readonly (Sequence & Partial<HeldOutSequence>)[]>,
): Promise<HeldOutResult> {
  const losses: Record<string, number> = {};
  const loads = new Map<string, Float64Array>();
  for (const [stage, rows] of stages) {
    const result = await evaluator.sequenceLosses(params, rows);
    losses[stage] = meanLoss(result);
    Object.assign(losses, lossesBySource(stage, rows, result));
    for (const [name, load] of result.loads) {
      const sum = loads.get(name);
      loads.set(name, sum === undefined ? load : load.map((count, e) => count + sum[e]!));
    }
  }
  return { losses, routers: [...loads].map(([name, load]) => routerHealthOf(name, load)) };
}

function lossesBySource(
  stage: HeldOutStage,
  rows: readonly Partial<HeldOutSequence>[],
  { losses, tokens }: SequenceLosses,
): Record<string, number> {
  const sources = [...new Set(rows.filter((_, i) => tokens[i]! > 0).map(({ source }) => source))].sort();
  if (sources.length < 2) return {};
  const of = (values: Float64Array, source: string | undefined): Float64Array =>
    values.filter((_, i) => rows[i]!.source === source);
  return Object.fromEntries(
    sources.map((source) => [
      `${stage}/${source}`.slice(0, 64),
      meanLoss({ losses: of(losses, source), tokens: of(tokens, source) }),
    ]),
  );
}

/** As `evaluateHeldOut`. */
export async function heldOutLosses(
  ...evaluation: Parameters<typeof evaluateHeldOut>
): Promise<Readonly<Record<string, number>>> {
  return (await evaluateHeldOut(...evaluation)).losses;
}
