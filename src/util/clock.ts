/** @file Interfaces of the environment that decisions must not reach for by themselves: time, log and metrics. */

export interface Clock {
  /** Milliseconds since the Unix epoch. */
  nowMs(): number;
  /** Resolves after `ms`, or rejects with the signal's reason. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export type LogFields = Readonly<Record<string, unknown>>;

export interface Log {
  error(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  debug(event: string, fields?: LogFields): void;
  /** A log that adds `fields` to every line. */
  child(fields: LogFields): Log;
}

export interface Metrics {
  /** Adds to a counter whose name ends in `_total` or `_bytes`. */
  count(name: string, by?: number, labels?: Readonly<Record<string, string>>): void;
  /** Sets a gauge. */
  gauge(name: string, value: number, labels?: Readonly<Record<string, string>>): void;
  /** Records one duration; name ends in `_seconds`. */
  observe(name: string, seconds: number, labels?: Readonly<Record<string, string>>): void;
}

export const silentLog: Log = {
  error() {},
  warn() {},
  info() {},
  debug() {},
  child: () => silentLog,
};

export const silentMetrics: Metrics = { count() {}, gauge() {}, observe() {} };
