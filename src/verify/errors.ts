/** @file Failures of a verification that are no divergence: the record could not be read. */
import { BaseError } from '../util/errors.ts';

/** `UNREADABLE`: a file or answer is not of its form. `UNREACHABLE`: nothing is there (retryable). */
export type VerifyErrorCode = 'UNREADABLE' | 'UNREACHABLE';

export class VerifyError extends BaseError<VerifyErrorCode> {}
