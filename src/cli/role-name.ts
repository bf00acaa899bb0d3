/** @file The options `--name` and `--as`: the name of a learner, validator or syncer under its hotkey. */
import { UsageError } from '../util/errors.ts';
import type { Settings } from './settings.ts';

export function parseName(settings: Settings, option = 'name'): string {
  const name = settings.text(option);
  if (/^[a-z0-9][a-z0-9-]{0,31}$/.test(name)) return name;
  throw new UsageError(`--${option}: expected 1-32 of a-z, 0-9 and -, not beginning with -, got '${name}'`);
}
