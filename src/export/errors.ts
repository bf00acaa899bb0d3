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
  | 'BAD_FILE'
  /** The format has no way to say what the model does; the message names the config's field. */
  | 'UNREPRESENTABLE'
  /** The tokenizer's files have no form that the format can say. */
  | 'BAD_TOKENIZER'
  /** Not a file that is read here: cut short, foreign, or with a header that contradicts itself. */
  | 'UNREADABLE'
  /** Stopped by a signal; what was written is kept for the same export asked for again. */
  | 'INTERRUPTED';

export class ExportError extends BaseError<ExportErrorCode> {}
