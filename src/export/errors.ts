/** @file What can go wrong when a model is written out. */
import { BaseError } from '../util/errors.ts';

export type ExportErrorCode =
  /** The target folder is there already; exports never overwrite. */
  | 'TARGET_EXISTS'
  /** The disk is full or a quota is used up; nothing is left behind. */
  | 'DISK_FULL'
  | 'WRITE_FAILED'
  /** A tensor of the contract is absent or has the wrong number of elements. */
  | 'BAD_PARAMS'
  /** A file to copy in has a path for a name, or the name of one that is written here. */
  | 'BAD_FILE';

export class ExportError extends BaseError<ExportErrorCode> {}
