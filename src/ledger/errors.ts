/** @file Failures of the ledger. Messages carry the chain's own error name where it has one. */
import { BaseError } from '../util/errors.ts';

export const ledgerErrorCodes = [
  'NOT_REGISTERED',
  'RATE_LIMIT',
  'BAD_WEIGHTS',
  'NO_PERMIT',
  'BAD_SIGNATURE',
  'BAD_NONCE',
  'BAD_CALL',
  'NO_SLOT',
  'BALANCE',
  'TOO_LARGE',
  'DAMAGED',
  'DISK_FULL',
  'UNAVAILABLE',
] as const;
export type LedgerErrorCode = (typeof ledgerErrorCodes)[number];

export class LedgerError extends BaseError<LedgerErrorCode> {}
