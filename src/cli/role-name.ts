/** @file The option `--name`: the name of a learner or validator under its hotkey. */
import { UsageError } from '../util/errors.ts';
import type { Settings } from './settings.ts';

export function parseName(settings: Settings): string {
  const name = settings.text('name');
  if (/^[a-z0-9][a-z0-9-]{0,31}$/.test(name)) return name;
  throw new UsageError(`--name: expected 1-32 of a-z, 0-9 and -, not beginning with -, got '${name}'`);
}
