/**
 * @file Keeps the index level with a running orchestrator, and notes beside it what only heartbeats say: training loss and
 * tokens a second, sampled. A failing disk is told to the log and to `/healthz`; the run goes on without its index.
 */
import { liveOf } from '../../http/api/run-answers.ts';
import type { ApiSources } from '../../http/api/sources.ts';
import type { Indexer } from '../../journal/index/indexer.ts';
import { countedTokens } from '../../journal/queries.ts';
import type { RunState } from '../../journal/state.ts';
import type { Clock, Log } from '../../util/clock.ts';

export interface FollowRunOptions {
  readonly run: () => RunState;
  readonly indexer: Indexer;
  readonly sources: ApiSources;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}

const flushEveryMs = 1_000;
const sampleEveryMs = 10_000;

export interface RunFollower {
  /** Why the index is not level; null if it is. */
  readonly fault: () => string | null;
  /** Ends after the signal. */
  readonly done: Promise<void>;
}

export function followRun(options: FollowRunOptions): RunFollower {
  const faults: { newest: string | null } = { newest: null };
  return { fault: () => faults.newest, done: follow(options, faults) };
}

async function follow(options: FollowRunOptions, faults: { newest: string | null }): Promise<void> {
  const { run, indexer, clock, log, signal } = options;
  let sampledAtMs = Number.NEGATIVE_INFINITY;
  while (!signal.aborted) {
    try {
      await indexer.flush(run());
      if (clock.nowMs() - sampledAtMs >= sampleEveryMs) {
        sampledAtMs = clock.nowMs();
        await sample(options);
      }
      faults.newest = null;
    } catch (error) {
      if (faults.newest === null) log.error('the index of the journal was not written; it is tried again', { error });
      faults.newest = `the index was not written: ${(error as Error).message}`;
    }
    await clock.sleep(flushEveryMs, signal).catch(() => {}); // an abort ends the loop
  }
}

async function sample({ run, sources, clock }: FollowRunOptions): Promise<void> {
  const state = run();
  const { trainingLoss, trainedTokensPerSecond } = liveOf({ ...sources, state });
  const at = { atMs: Math.round(clock.nowMs()), countedTokens: countedTokens(state) };
  const samples = [
    { series: 'training-loss/mean', value: trainingLoss },
    { series: 'trained-throughput/tokensPerSecond', value: trainedTokensPerSecond },
  ];
  await sources.index.addSamples(
    samples.flatMap(({ series, value }) => (value === null ? [] : [{ ...at, series, value }])),
  );
}
