/** @file Failures of a journal that are not a peer's bad message. */
import { BaseError } from '../util/errors.ts';

/**
 * `CONFLICT`: another entry took this place; read on and try again. `DAMAGED`: an entry was changed, or is missing before
 * others. `TRUNCATED`: entries that an anchored tree head covers are gone. `LOCKED`: another process owns the folder. `FENCED`: another syncer leads.
 * `INDEX_CONFLICT`: a batch does not follow the index; rebuild it. `BAD_CURSOR`: no cursor of this question. `INDEX_DAMAGED`: the
 * index cannot be read; remove it, it is made again. `INDEX_AWAY`: its database cannot be reached or gave up; nothing was lost.
 * `INDEX_DENIED`: the database refuses us: password, role, name, or it is read-only. `INDEX_BUSY`: another process writes it. `TOO_LARGE`: a line or file beyond its bound. `DISK_FULL` and `IO`: the disk refused; nothing was appended. `CLOSED`.
 */
export type JournalErrorCode =
  | 'CONFLICT'
  | 'DAMAGED'
  | 'TRUNCATED'
  | 'LOCKED'
  | 'FENCED'
  | 'TOO_LARGE'
  | 'DISK_FULL'
  | 'IO'
  | 'INDEX_CONFLICT'
  | 'INDEX_DAMAGED'
  | 'INDEX_AWAY'
  | 'INDEX_DENIED'
  | 'INDEX_BUSY'
  | 'BAD_CURSOR'
  | 'CLOSED';

export class JournalError extends BaseError<JournalErrorCode> {}
