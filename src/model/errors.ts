/** @file What fails in the model layer: a config that cannot be run, a checkpoint that does not hold what it should. */
import { BaseError } from '../util/errors.ts';

export type ModelErrorCode =
  /** A config field has a value that no model can have. */
  | 'BAD_CONFIG'
  /** A config asks for a variant of the architecture that is not built. */
  | 'UNSUPPORTED_VARIANT'
  /** Patterns of frozen tensors name none, or leave nothing to train. */
  | 'BAD_FROZEN'
  /** A checkpoint lacks a tensor, has one too many, or one of the wrong shape or dtype. */
  | 'CHECKPOINT_MISMATCH'
  /** A tensor of a checkpoint holds a number that no model can have: NaN, an infinity, an id out of range. */
  | 'CHECKPOINT_VALUES'
  /** A file of a checkpoint is absent or cannot be read. */
  | 'CHECKPOINT_UNREADABLE'
  /** Inputs that no graph takes: ids outside the vocabulary, a prompt that is too long. */
  | 'BAD_INPUT';

export class ModelError extends BaseError<ModelErrorCode> {}
