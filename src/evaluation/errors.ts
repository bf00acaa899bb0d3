/** @file Failures of evaluations. */
import { BaseError } from '../util/errors.ts';

export type EvaluationErrorCode =
  /** The tokenizer or the lengths leave nothing to ask. */
  | 'NEEDLE_IMPOSSIBLE'
  /** A row of a task file is not what its format says; the message names file and line. */
  | 'BAD_TASK'
  /** The text is too short to make the asked-for questions from. */
  | 'TOO_LITTLE_TEXT';

export class EvaluationError extends BaseError<EvaluationErrorCode> {}
