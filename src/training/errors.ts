/** @file Failures of training that are not the engine's. */
import { BaseError } from '../util/errors.ts';

export type TrainingErrorCode =
  /** The batch does not fit the session's graph. */
  | 'BAD_BATCH'
  /** Loss or gradients were not finite for several steps in a row. */
  | 'DIVERGED'
  /** A learner's saved state is damaged or not one. */
  | 'BAD_CHECKPOINT'
  /** A learner's saved state belongs to a run with other settings. */
  | 'OTHER_RUN';

export class TrainingError extends BaseError<TrainingErrorCode> {}
