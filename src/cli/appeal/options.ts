/** @file The options of `accrete appeal`. */
import { UsageError } from '../../util/errors.ts';
import type { Settings } from '../settings.ts';

export interface AppealOptions {
  /** Lower-case hex, 8 to 64 digits. */
  readonly claim: string;
  readonly join: string;
  readonly dir: string;
  readonly waitMs: number;
  readonly json: boolean;
}

/** @throws UsageError */
export function parseAppealOptions(settings: Settings): AppealOptions {
  const claim = settings.argument?.toLowerCase() ?? '';
  if (!/^[0-9a-f]{8,64}$/.test(claim))
    throw new UsageError(`CLAIM: expected 8 to 64 hex digits of a claim's id, got ${claim === '' ? 'nothing' : claim}`);
  return {
    claim,
    join: settings.url('join'),
    dir: settings.path('dir'),
    waitMs: settings.count('wait', { min: 0, max: 3_600 }) * 1_000,
    json: settings.switch('json'),
  };
}
