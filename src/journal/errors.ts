/** @file Failures of a journal that are not a peer's bad message. */
import { BaseError } from '../util/errors.ts';

/**
 * `CONFLICT`: another entry took this place; read on and try again. `DAMAGED`: an entry was changed, or is missing before
 * others. `TRUNCATED`: entries that an anchored tree head covers are gone. `LOCKED`: another process owns the folder.
 * `TOO_LARGE`: a line or file beyond its bound. `DISK_FULL` and `IO`: the disk refused; nothing was appended. `CLOSED`.
 */
export type JournalErrorCode =
  | 'CONFLICT'
  | 'DAMAGED'
  | 'TRUNCATED'
  | 'LOCKED'
  | 'TOO_LARGE'
  | 'DISK_FULL'
  | 'IO'
  | 'CLOSED';

export class JournalError extends BaseError<JournalErrorCode> {}
