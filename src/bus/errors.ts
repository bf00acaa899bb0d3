/** @file Failures of the bus. */
import { BaseError } from '../util/errors.ts';

export type BusErrorCode =
  | 'TIMEOUT'
  | 'NO_RESPONDER'
  | 'CLOSED'
  | 'TAKEN'
  | 'TOO_LARGE'
  | 'BAD_TOPIC'
  | 'FORBIDDEN'
  | 'BUSY'
  | 'UNREACHABLE'
  | 'OUT_OF_PLACE'
  | 'INTERNAL';

/** Also carries the code of the responder's own error, whatever that is. */
export class BusError extends BaseError<BusErrorCode | (string & {})> {}

/** How a responder's failure looks to the caller: its code if it has one, and nothing of our own bugs. */
export function toBusError(error: unknown): BusError {
  if (error instanceof BusError) return error;
  if (error instanceof BaseError) {
    return new BusError(error.code, error.message, { retryable: error.retryable, cause: error });
  }
  return new BusError('INTERNAL', 'the responder failed; its log says why', { cause: error });
}
