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
  | 'BAD_TOKENIZER'
  /** A source's file ends in the middle: compressed data, a table without its footer, a download. */
  | 'TRUNCATED'
  /** A record of a source that is not what its format or its fields say; the message has file and line. */
  | 'BAD_RECORD'
  /** A source, or one of its files, is not there. */
  | 'NOT_FOUND'
  /** A source asks for a token, or refuses the one it got. */
  | 'FORBIDDEN'
  /** A source's server cannot be reached, or failed; trying again may help. */
  | 'UNAVAILABLE'
  /** A source's declaration, or a filter's, that cannot be. */
  | 'BAD_SOURCE'
  /** A bound that the operator set, or that protects memory. */
  | 'LIMIT'
  /** Stopped by its signal; the same command goes on where it stopped. */
  | 'INTERRUPTED';

export class DataError extends BaseError<DataErrorCode> {}
