/** @file The options of `accrete eval needle`. */
import type { Device } from '../../engine/device.ts';
import type { NeedleOptions } from '../../evaluation/needle.ts';
import { UsageError } from '../../util/errors.ts';
import { parseDevice } from '../device.ts';
import type { Settings } from '../settings.ts';
import { parseThreads } from '../threads.ts';

export interface EvalNeedleOptions extends NeedleOptions {
  readonly checkpoint: string;
  readonly threads: number;
  readonly device: Device;
}

const maxEntries = 100;

export function parseEvalNeedleOptions(settings: Settings): EvalNeedleOptions {
  return {
    checkpoint: settings.path('checkpoint'),
    lengths: parseList(
      settings,
      'lengths',
      'whole numbers from 1 to 1048576',
      (n) => Number.isInteger(n) && n >= 1 && n <= 1 << 20,
    ),
    depths: parseList(settings, 'depths', 'numbers from 0 to 1', (n) => n >= 0 && n <= 1),
    samples: settings.count('samples', { min: 1, max: 10_000 }),
    seed: settings.count('seed', { min: 0, max: Number.MAX_SAFE_INTEGER }),
    threads: parseThreads(settings),
    device: parseDevice(settings),
  };
}

function parseList(settings: Settings, name: string, what: string, isValid: (n: number) => boolean): readonly number[] {
  const text = settings.text(name);
  const numbers = text.split(',').map((part) => (/^\s*\d+(\.\d+)?\s*$/.test(part) ? Number(part) : Number.NaN));
  if (numbers.length > maxEntries || !numbers.every(isValid))
    throw new UsageError(`--${name}: expected at most ${maxEntries} ${what}, separated by commas, got '${text}'`);
  return [...new Set(numbers)].sort((a, b) => a - b);
}
