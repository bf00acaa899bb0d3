/** @file Failures of planning, encoding and merging fragments. */
import { BaseError } from '../util/errors.ts';

export type PlanErrorCode = 'BAD_FRAGMENT_COUNT' | 'BAD_CONTRACT' | 'ROUTER_MISSING' | 'TOO_FEW_ROWS';

/** The contract or P cannot give a plan: a fault of the manifest. */
export class PlanError extends BaseError<PlanErrorCode> {}

export type CodecErrorCode =
  | 'BAD_CONTAINER'
  | 'UNKNOWN_TENSOR'
  | 'MISSING_TENSOR'
  | 'WRONG_DTYPE'
  | 'WRONG_SHAPE'
  | 'WRONG_SIZE'
  | 'NOT_FINITE'
  | 'OUT_OF_RANGE'
  | 'BAD_SCALE'
  | 'NOT_CANONICAL';

/** A fragment's bytes are not what the plan and the codec say, or values cannot be encoded. */
export class CodecError extends BaseError<CodecErrorCode> {}

export type MergeErrorCode =
  | 'NO_CLAIMS'
  | 'TOO_MANY_CLAIMS'
  | 'DUPLICATE_CLAIM'
  | 'WRONG_LENGTH'
  | 'BAD_WEIGHT'
  | 'NOT_FINITE'
  | 'TOO_LARGE';

export class MergeError extends BaseError<MergeErrorCode> {}
