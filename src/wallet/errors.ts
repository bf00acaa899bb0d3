/** @file Failures of wallets. No message quotes a key, a phrase or a password. */
import { BaseError } from '../util/errors.ts';

export type WalletErrorCode =
  | 'NOT_FOUND'
  | 'EXISTS'
  | 'WRONG_PASSWORD'
  | 'PASSWORD_NEEDED'
  | 'UNSUPPORTED_ENCRYPTION'
  | 'DAMAGED'
  | 'EXPOSED'
  | 'NO_SECRET'
  | 'BAD_PHRASE'
  | 'UNAVAILABLE';

export class WalletError extends BaseError<WalletErrorCode> {}
