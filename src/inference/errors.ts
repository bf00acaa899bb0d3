/** @file What fails where a model is run for somebody: a template that is none, a prompt that does not fit, no room. */
import { BaseError } from '../util/errors.ts';

export type InferenceErrorCode =
  /** The checkpoint's tokenizer_config.json and chat_template.jinja name no chat template. */
  | 'NO_CHAT_TEMPLATE'
  /** The template cannot be read, or refuses these messages. */
  | 'BAD_CHAT_TEMPLATE'
  /** Prompt and continuation together are longer than the context. */
  | 'CONTEXT_LENGTH_EXCEEDED'
  /** As many sequences wait as may. */
  | 'QUEUE_FULL'
  /** The model is being closed. */
  | 'CLOSED';

export class InferenceError extends BaseError<InferenceErrorCode> {}
