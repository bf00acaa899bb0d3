/** @file What can go wrong between this page and the data; the message is a sentence for the reader. */
import { BaseError } from '../../../src/util/errors.ts';

export type ApiFaultCode =
  /** No answer: the server, or the way to it, is away. */
  | 'UNREACHABLE'
  /** An answer that the schema does not allow: another version, or not the API. */
  | 'MALFORMED'
  /** What the API itself says (`protocol/api/common.ts`). */
  | 'BAD_REQUEST'
  | 'NOT_FOUND'
  | 'METHOD_NOT_ALLOWED'
  | 'NO_RUN'
  | 'TOO_MANY_REQUESTS'
  | 'UNAVAILABLE'
  | 'INTERNAL';

export class ApiFault extends BaseError<ApiFaultCode> {}
