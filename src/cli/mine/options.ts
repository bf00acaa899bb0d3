/** @file The options of `accrete mine`. */
import type { Device } from '../../engine/device.ts';
import { type LedgerChoice, parseLedgerChoice } from '../chosen-ledger.ts';
import { parseDevice } from '../device.ts';
import { parseName } from '../role-name.ts';
import type { Settings } from '../settings.ts';
import { parseThreads } from '../threads.ts';

export interface MineOptions {
  /** Of each syncer. */
  readonly join: readonly string[];
  readonly dir: string;
  readonly name: string;
  readonly threads: number;
  /** Of text that is kept on this machine. */
  readonly cacheBytes: number;
  readonly device: Device;
  readonly ledger: LedgerChoice;
  readonly json: boolean;
}

export function parseMineOptions(settings: Settings): MineOptions {
  return {
    join: settings.urls('join'),
    dir: settings.path('dir'),
    name: parseName(settings),
    threads: parseThreads(settings),
    cacheBytes: settings.count('cache-gib', { min: 1, max: 1 << 20 }) * 1024 ** 3,
    device: parseDevice(settings),
    ledger: parseLedgerChoice(settings),
    json: settings.switch('json'),
  };
}
