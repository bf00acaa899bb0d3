/** @file The options of `accrete validate`. */
import { type LedgerChoice, parseLedgerChoice } from '../chosen-ledger.ts';
import { parseName } from '../role-name.ts';
import type { Settings } from '../settings.ts';
import { parseThreads } from '../threads.ts';

export interface ValidateOptions {
  /** Of each syncer. */
  readonly join: readonly string[];
  readonly dir: string;
  readonly name: string;
  readonly threads: number;
  /** Of text that is kept on this machine. */
  readonly cacheBytes: number;
  readonly ledger: LedgerChoice;
  readonly json: boolean;
}

export function parseValidateOptions(settings: Settings): ValidateOptions {
  return {
    join: settings.urls('join'),
    dir: settings.path('dir'),
    name: parseName(settings),
    threads: parseThreads(settings),
    cacheBytes: settings.count('cache-gib', { min: 1, max: 1 << 20 }) * 1024 ** 3,
    ledger: parseLedgerChoice(settings),
    json: settings.switch('json'),
  };
}
