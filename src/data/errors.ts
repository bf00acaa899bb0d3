/** @file Failures of text, tokenizers and shards. */
import { BaseError } from '../util/errors.ts';

export type DataErrorCode =
  /** A mixture names a source that has no sequences, or its shares are out of bounds. */
  | 'BAD_MIXTURE'
  /** A sequence was asked for that the shards do not hold. */
  | 'OUT_OF_RANGE'
  /** A shard that the catalog names was not handed in. */
  | 'SHARD_MISSING'
  /** Bytes that are not what the catalog or a pin says. */
  | 'HASH_MISMATCH'
  /** A file of the prepared corpus that cannot be read as what it should be. */
  | 'DAMAGED'
  /** The corpus has not been prepared in this folder. */
  | 'NOT_PREPARED'
  /** A text package is not installed. */
  | 'PACKAGE_MISSING'
  /** A tokenizer cannot be trained or built as asked. */
  | 'BAD_TOKENIZER';

export class DataError extends BaseError<DataErrorCode> {}
