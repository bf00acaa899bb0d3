/** @file Failures of the store. */
import { BaseError } from '../util/errors.ts';

export const storeErrorCodes = [
  'NOT_FOUND',
  'HASH_MISMATCH',
  'SIZE_MISMATCH',
  'TOO_LARGE',
  'DISK_FULL',
  'FORBIDDEN',
  /** A permission that was good is too old: ask for a new one. */
  'EXPIRED',
  /** Signed times do not count: the clocks differ too much. */
  'CLOCK_SKEW',
  'BUSY',
  'UNAVAILABLE',
] as const;
export type StoreErrorCode = (typeof storeErrorCodes)[number];

export class StoreError extends BaseError<StoreErrorCode> {}

export const notFound = (root: string): StoreError =>
  new StoreError('NOT_FOUND', `${root}: not in this store; was it uploaded, or removed by retention?`);

export function sizeMismatch(root: string, expected: number, actual: number): StoreError {
  return new StoreError('SIZE_MISMATCH', `${root}: expected ${expected} bytes, got ${actual}; cut short?`, {
    context: { root, expected, actual },
  });
}

export function hashMismatch(root: string, actual: string): StoreError {
  return new StoreError('HASH_MISMATCH', `${root}: these bytes have root ${actual}; damaged on the way? fetch again`, {
    context: { root, actual },
  });
}
