/** @file A model that is ready to answer: weights, tokenizer and chat template together, and what ends its text. */
import type { Tokenizer } from '../data/tokenizer.ts';
import type { DecodeModel } from '../model/quasar-long/decode-model.ts';
import type { ChatTemplate } from './chat-template.ts';
import { InferenceError } from './errors.ts';

export interface LanguageModel {
  readonly name: string;
  readonly model: DecodeModel;
  readonly tokenizer: Tokenizer;
  /** Null: the checkpoint has none. */
  readonly template: ChatTemplate | null;
  /** Tokens of prompt and continuation together. */
  readonly contextTokens: number;
}

/** @throws InferenceError NO_CHAT_TEMPLATE */
export function templateOf({ name, template }: Pick<LanguageModel, 'name' | 'template'>): ChatTemplate {
  if (template !== null) return template;
  throw new InferenceError('NO_CHAT_TEMPLATE', `${name} has no chat template; it can continue text, not chat`);
}

/** The config's end-of-text token and the tokenizer's. */
export function stopIdsOf({ model, tokenizer }: Pick<LanguageModel, 'model' | 'tokenizer'>): number[] {
  const { eos_token_id: ending } = model.config;
  return [...new Set([tokenizer.endOfText, ...(ending === null ? [] : [ending])])];
}

/**
 * How many tokens may follow. `wanted` null: as many as fit.
 * @throws InferenceError CONTEXT_LENGTH_EXCEEDED
 */
export function roomFor(contextTokens: number, promptTokens: number, wanted: number | null): number {
  const needed = promptTokens + Math.max(1, wanted ?? 1);
  if (needed > contextTokens)
    throw new InferenceError(
      'CONTEXT_LENGTH_EXCEEDED',
      `the context has ${contextTokens} tokens; the prompt has ${promptTokens}, and ${wanted ?? 'at least 1'} shall follow. Shorten the prompt or ask for fewer`,
    );
  return wanted ?? contextTokens - promptTokens;
}
