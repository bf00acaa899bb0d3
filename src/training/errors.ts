/** @file Failures of training that are not the engine's. */
import { BaseError } from '../util/errors.ts';

export type TrainingErrorCode =
  /** The batch does not fit the session's graph. */
  | 'BAD_BATCH'
  /** Loss or gradients were not finite for several steps in a row. */
  | 'DIVERGED';

export class TrainingError extends BaseError<TrainingErrorCode> {}
