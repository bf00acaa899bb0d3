/** @file Failures of the ledger. Messages begin with the chain's own error name where it has one. */
import { BaseError } from '../util/errors.ts';

export const ledgerErrorCodes = [
  'NOT_REGISTERED',
  'NOT_ASSOCIATED',
  'RATE_LIMIT',
  'BAD_WEIGHTS',
  'NO_PERMIT',
  'COMMIT_REVEAL',
  'BAD_SIGNATURE',
  'BAD_NONCE',
  'BAD_CALL',
  'NO_SLOT',
  'BALANCE',
  'TOO_LARGE',
  'DAMAGED',
  'DISK_FULL',
  'WRONG_NETWORK',
  'UNSUPPORTED',
  'UNAVAILABLE',
] as const;
export type LedgerErrorCode = (typeof ledgerErrorCodes)[number];

export class LedgerError extends BaseError<LedgerErrorCode> {}

/** A call that the chain does not take: its code here, the chain's name for it, and what to do. */
export function refused(
  code: LedgerErrorCode,
  chainError: string,
  sentence: string,
  context: Readonly<Record<string, unknown>> = {},
): LedgerError {
  return new LedgerError(code, `${chainError}: ${sentence}`, { context: { ...context, chainError } });
}

/** The chain's name of a refusal, as `SettingWeightsTooFast`; also after it crossed a bus, where only its message is left. */
export function chainErrorOf(error: unknown): string | null {
  if (!(error instanceof LedgerError)) return null;
  return /^([A-Z][A-Za-z]+): /.exec(error.message)?.[1] ?? null;
}
