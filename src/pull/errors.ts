/** @file What stops a pull. What was fetched and checked until then stays beside the target, and counts the next time. */
import { BaseError } from '../util/errors.ts';

export type PullErrorCode =
  /** The record is not what its own rules allow, up to the release that was asked for. */
  | 'BAD_RECORD'
  /** The run or the repository has no such release. */
  | 'NO_SUCH_RELEASE'
  /** The record names the release, but its bytes are not (or no longer) there. */
  | 'NOT_THERE'
  /** Bytes are not those that the record or the hub names. */
  | 'TAMPERED'
  /** The hub wants a token, or does not take this one. */
  | 'NOT_ALLOWED'
  | 'UNREACHABLE'
  | 'TARGET_EXISTS'
  | 'DISK_FULL'
  | 'WRITE_FAILED'
  | 'INTERRUPTED';

export class PullError extends BaseError<PullErrorCode> {}
