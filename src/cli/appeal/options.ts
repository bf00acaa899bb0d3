/** @file The options of `accrete appeal`. */
import { parseClaimId } from '../claim-id.ts';
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
  return {
    claim: parseClaimId(settings),
    join: settings.url('join'),
    dir: settings.path('dir'),
    waitMs: settings.count('wait', { min: 0, max: 3_600 }) * 1_000,
    json: settings.switch('json'),
  };
}
