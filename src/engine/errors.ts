/** @file What can go wrong in the engine: a graph that does not fit together, feeds that do not fit the graph, the run itself. */
import { BaseError } from '../util/errors.ts';

export type EngineErrorCode =
  | 'SHAPE_MISMATCH'
  | 'DTYPE_MISMATCH'
  | 'DUPLICATE_NAME'
  | 'NO_GRADIENT'
  | 'MISSING_FEED'
  | 'UNKNOWN_FEED'
  | 'FEED_MISMATCH'
  | 'UNKNOWN_OUTPUT'
  | 'NO_DEVICE'
  | 'SESSION_CLOSED'
  | 'SESSION_FAILED';

export class EngineError extends BaseError<EngineErrorCode> {}
