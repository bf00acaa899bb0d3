/** @file The report of a preparation: what was read, dropped and kept, by source and filter, and from which bytes. Pure. */
import type { SourceTally, StageTally } from './assemble.ts';
import type { Tally } from './chunk.ts';

export interface InputRecord {
  readonly name: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

export interface SourceReport extends SourceTally {
  readonly name: string;
  readonly from: string;
  readonly revision: string | null;
  readonly licence: string;
  readonly inputs: readonly InputRecord[];
}

/** No times in it: the same inputs and settings give the same report. */
export interface DataReport {
  readonly version: 1;
  readonly settings: Readonly<Record<string, unknown>>;
  /** Where the oldest may be forgotten: with how many documents the last ones were not compared. */
  readonly forgottenDocuments?: number;
  readonly evaluation: { readonly items: number; readonly shortItems: number; readonly grams: number };
  readonly sources: readonly SourceReport[];
}

export const tokensOf = ({ stages }: Pick<SourceTally, 'stages'>): number =>
  Object.values(stages).reduce((sum, { tokens }) => sum + tokens, 0);

const keptOf = ({ stages }: Pick<SourceTally, 'stages'>): Tally =>
  Object.values(stages).reduce((sum: Tally, stage) => add(sum, stage), { documents: 0, bytes: 0 });

const add = (a: Tally, b: Tally): Tally => ({ documents: a.documents + b.documents, bytes: a.bytes + b.bytes });

const share = (part: number, whole: number): string => `${whole === 0 ? '0.0' : ((100 * part) / whole).toFixed(1)} %`;
const count = (value: number): string => value.toLocaleString('en-US');
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 2 : 1)} MB`;

/** Lines for people. */
export function reportText({ sources, evaluation, settings, forgottenDocuments = 0 }: DataReport): string {
  const lines = [`filters: ${String(settings.filters)}; near copies ${settings.nearCopies ? 'dropped' : 'kept'}`];
  if (forgottenDocuments > 0)
    lines.push(
      `the memory for hashes was full: the last documents were not compared with the ${count(forgottenDocuments)} oldest; raise --memory-mib to find all copies`,
    );
  if (evaluation.items > 0)
    lines.push(
      `kept apart from ${count(evaluation.items)} evaluation items by ${count(evaluation.grams)} rows of 13 words; ${count(evaluation.shortItems)} items are shorter and are not searched for`,
    );
  for (const source of sources) lines.push('', ...sourceLines(source));
  const stages = sources.flatMap((source) => Object.values(source.stages));
  const read = sources.map((source) => source.read).reduce(add, { documents: 0, bytes: 0 });
  const kept = sources.map(keptOf).reduce(add, { documents: 0, bytes: 0 });
  const [tokens, shards] = (['tokens', 'shards'] as const).map((name) =>
    stages.reduce((sum, each) => sum + each[name], 0),
  );
  lines.push('', `in all: ${keptLine(kept, read)}, ${count(tokens!)} tokens in ${count(shards!)} shards`);
  return `${lines.join('\n')}\n`;
}

function sourceLines(source: SourceReport): string[] {
  const { name, licence, from, read, dropped, stages } = source;
  const kept = keptOf(source);
  const reasons = Object.entries(dropped).sort(([, a], [, b]) => b.documents - a.documents);
  return [
    `${name} (${licence}) from ${from}: ${keptLine(kept, read)}`,
    ...reasons.map(
      ([reason, { documents, bytes }]) =>
        `  dropped ${reason}: ${count(documents)} (${share(documents, read.documents)}), ${megabytes(bytes)}`,
    ),
    ...Object.entries(stages).map(([stage, tally]) => `  ${stage}: ${stageLine(tally)}`),
  ];
}

const keptLine = (kept: Tally, read: Tally): string =>
  `${count(kept.documents)} of ${count(read.documents)} documents kept (${share(kept.documents, read.documents)}), ${megabytes(kept.bytes)} of ${megabytes(read.bytes)}`;

const stageLine = ({ documents, tokens, shards, bytes }: StageTally): string =>
  `${count(documents)} documents, ${count(tokens)} tokens (${(bytes / Math.max(1, tokens)).toFixed(2)} bytes each), ${count(shards)} shards`;
