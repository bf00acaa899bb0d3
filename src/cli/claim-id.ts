/** @file The argument CLAIM: a claim by its id or the id's first digits, as `accrete appeal` and `accrete replay` take it. */
import type { Claim, RunState } from '../journal/state.ts';
import { UsageError } from '../util/errors.ts';
import type { CommandDeclaration } from './command.ts';
import type { Settings } from './settings.ts';

export const claimArgument: NonNullable<CommandDeclaration['argument']> = {
  name: 'CLAIM',
  description: 'id of the claim, or its first 8 digits or more, as the refusal shows it',
};

/** Lower-case hex, 8 to 64 digits. @throws UsageError */
export function parseClaimId({ argument }: Settings): string {
  const typed = argument?.toLowerCase() ?? '';
  if (/^[0-9a-f]{8,64}$/.test(typed)) return typed;
  throw new UsageError(`CLAIM: expected 8 to 64 hex digits of a claim's id, got ${typed === '' ? 'nothing' : typed}`);
}

/** @throws UsageError if no claim or several claims begin so */
export function findClaim(state: RunState, typed: string): Claim {
  const found = [...state.claims.values()].filter(({ id }) => id.startsWith(typed));
  if (found.length === 1) return found[0]!;
  const said =
    found.length === 0 ? 'no claim of this run begins so' : `${found.length} claims begin so: type more digits`;
  throw new UsageError(`CLAIM ${typed}: ${said}`);
}
