/**
 * @file The log of a process, on pino: JSON lines, or lines for people. Fields whose names say that they hold a secret
 * are removed, so that no key can reach a log by mistake.
 */
import pino from 'pino';
import type { Log, LogFields } from '../util/clock.ts';

export interface LogOptions {
  readonly level: 'error' | 'warn' | 'info' | 'debug';
  readonly format: 'json' | 'text';
  /** Where each line goes. */
  readonly write: (line: string) => void;
}

const secretField = /secret|private|seed|mnemonic|token$|authorization/i;

export function createLog(options: LogOptions): Log {
  const write = (line: string): void => options.write(options.format === 'json' ? line.trimEnd() : toText(line));
  const logger = pino(
    {
      level: options.level,
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (level) => ({ level }) },
    },
    { write },
  );
  return wrap(logger);
}

function wrap(logger: pino.Logger): Log {
  return {
    error: (event, fields) => logger.error(safe(fields), event),
    warn: (event, fields) => logger.warn(safe(fields), event),
    info: (event, fields) => logger.info(safe(fields), event),
    debug: (event, fields) => {
      if (logger.isLevelEnabled('debug')) logger.debug(safe(fields), event);
    },
    child: (fields) => wrap(logger.child(safe(fields))),
  };
}

function safe(fields: LogFields = {}): LogFields {
  return Object.fromEntries(
    Object.entries(fields)
      .filter(([name]) => !secretField.test(name))
      .map(([name, value]) => [name, value instanceof Error ? value.message : value]),
  );
}

/** `12:03:55 info  outer step applied  fragmentId=2 learners=3` */
function toText(line: string): string {
  const { level, time, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const details = Object.entries(fields).map(
    ([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  return `${String(time).slice(11, 19)} ${String(level).padEnd(5)} ${String(msg)}${details.length > 0 ? `  ${details.join(' ')}` : ''}`;
}
