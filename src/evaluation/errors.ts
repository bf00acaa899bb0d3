/** @file Failures of evaluations. */
import { BaseError } from '../util/errors.ts';

export type EvaluationErrorCode = 'NEEDLE_IMPOSSIBLE';

/** `NEEDLE_IMPOSSIBLE`: the tokenizer or the lengths leave nothing to ask. */
export class EvaluationError extends BaseError<EvaluationErrorCode> {}
