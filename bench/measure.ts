/** @file How benchmarks measure and tell: set-up and warm-up outside the timed part, results awaited, median and spread. */
import { arch, availableParallelism, cpus, platform, release, totalmem } from 'node:os';

export interface BenchOptions {
  /** Folder of a run, for benches that read a journal. */
  readonly run: string;
  /** Of the bus bench: how many light learners, over which buses, and how many kept requests under faults. */
  readonly learners: readonly number[];
  readonly over: readonly string[];
  readonly requests: number;
  /** Prints rows as they come, for benches that take long; they are not printed again. */
  readonly tell: (...rows: readonly BenchRow[]) => void;
}

export interface BenchRow {
  readonly what: string;
  readonly value: string;
  /** Spread, sizes, what it is beside. */
  readonly detail: string;
}

export interface Bench {
  readonly name: string;
  readonly about: string;
  /** Runs only when it is named. */
  readonly isLong?: boolean;
  /** Rows that come one by one are printed as they come. */
  run(options: BenchOptions): Promise<readonly BenchRow[]> | AsyncIterable<BenchRow>;
}

export interface Timing {
  readonly medianMs: number;
  /** 10th and 90th percentile. */
  readonly lowMs: number;
  readonly highMs: number;
  readonly runs: number;
}

/** Times `work` after `warmups` untimed calls. */
export async function time(
  work: () => unknown,
  { runs = 11, warmups = 3 }: { readonly runs?: number; readonly warmups?: number } = {},
): Promise<Timing> {
  for (let i = 0; i < warmups; i++) await work();
  const times: number[] = [];
  for (let i = 0; i < runs; i++) {
    const startedAt = performance.now();
    await work();
    times.push(performance.now() - startedAt);
  }
  return timingOf(times);
}

export function timingOf(times: readonly number[]): Timing {
  return {
    medianMs: percentile(times, 0.5),
    lowMs: percentile(times, 0.1),
    highMs: percentile(times, 0.9),
    runs: times.length,
  };
}

/** Nearest rank. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

export const spread = ({ lowMs, highMs, runs }: Timing): string =>
  `${lowMs.toFixed(2)}-${highMs.toFixed(2)} ms (10-90 %, ${runs} runs)`;

export const gigabytesPerSecond = (bytes: number, ms: number): string => `${(bytes / ms / 1e6).toFixed(2)} GB/s`;

export function machine(): string {
  const model = cpus()[0]?.model.trim() ?? 'unknown processor';
  return `${model}, ${availableParallelism()} cores, ${(totalmem() / 1024 ** 3).toFixed(0)} GiB, ${platform()} ${release()} ${arch()}, Node ${process.versions.node}`;
}
