/** @file What every long-running role is handed: the real clock, a log on standard error, counters, the stop signal. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock, Log, Metrics } from '../util/clock.ts';
import { UsageError } from '../util/errors.ts';
import type { Io } from './io.ts';
import { createLog } from './log.ts';

export interface Environment {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  sleep: (ms, signal) => sleep(ms, undefined, signal === undefined ? {} : { signal }),
};

/** A clock that is off: `accrete simulate --chaos` starts roles so (`ACCRETE_CLOCK_SKEW_MS`). */
function clockOf(io: Io): Clock {
  const skewMs = Number(io.environment.ACCRETE_CLOCK_SKEW_MS ?? 0);
  if (!Number.isSafeInteger(skewMs))
    throw new UsageError(
      `ACCRETE_CLOCK_SKEW_MS: expected whole milliseconds, got '${io.environment.ACCRETE_CLOCK_SKEW_MS}'`,
    );
  return skewMs === 0 ? systemClock : { ...systemClock, nowMs: () => Date.now() + skewMs };
}

/** `ACCRETE_LOG` sets the level: error, warn, info (default) or debug. */
export function roleEnvironment(io: Io, options: { readonly role: string; readonly json: boolean }): Environment {
  const wanted = io.environment.ACCRETE_LOG;
  const level = (['error', 'warn', 'info', 'debug'] as const).find((name) => name === wanted) ?? 'info';
  const log = createLog({ level, format: options.json ? 'json' : 'text', write: io.err }).child({ role: options.role });
  return { clock: clockOf(io), log, metrics: countingMetrics(log) };
}

const tellEveryCounts = 1_000;

/** Counters in memory, told to the log at powers of ten: enough to see what happens often, without a server for them. */
function countingMetrics(log: Log): Metrics {
  const totals = new Map<string, number>();
  return {
    count(name, by = 1, labels = {}) {
      const key = [name, ...Object.entries(labels).map(([label, value]) => `${label}=${value}`)].join(' ');
      const before = totals.get(key) ?? 0;
      totals.set(key, before + by);
      const isRound = Math.floor(Math.log10(before + by)) > Math.floor(Math.log10(Math.max(before, 0.1)));
      if (isRound || Math.floor((before + by) / tellEveryCounts) > Math.floor(before / tellEveryCounts))
        log.debug('counted', { counter: key, total: before + by });
    },
    gauge(name, value, labels = {}) {
      log.debug('gauge', { gauge: name, value, ...labels });
    },
    observe(name, seconds, labels = {}) {
      log.debug('observed', { duration: name, seconds, ...labels });
    },
  };
}
