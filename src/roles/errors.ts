/** @file Failures of roles that are not a peer's bad message. */
import { BaseError } from '../util/errors.ts';

export type RoleErrorCode =
  | 'JOURNAL_INVALID'
  | 'JOURNAL_BEHIND'
  | 'NO_RUN'
  | 'NO_KEY'
  | 'NAME_TAKEN'
  | 'REFUSED'
  | 'WRONG_RUN'
  | 'LEARNER_FAILED'
  | 'BAD_STATE';

export class RoleError extends BaseError<RoleErrorCode> {}
