/** @file Failures of the HTTP API's client. */
import { BaseError } from '../util/errors.ts';

export type HttpErrorCode = 'UNREACHABLE' | 'REFUSED' | 'MALFORMED' | 'TOO_LARGE';

export class HttpError extends BaseError<HttpErrorCode> {}
