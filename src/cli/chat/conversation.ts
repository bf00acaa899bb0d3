/** @file The messages of a conversation, as many of them as the context holds: the oldest turns go first, the system message never. */
import type { ChatMessage, ChatTemplate } from '../../inference/chat-template.ts';
import { roomFor } from '../../inference/language-model.ts';

export interface ConversationOptions {
  readonly template: ChatTemplate;
  readonly encode: (text: string) => number[];
  readonly contextTokens: number;
  /** Kept free for an answer. */
  readonly answerTokens: number;
  readonly system: string | null;
}

export class Conversation {
  readonly #options: ConversationOptions;
  /** User and assistant in turns. */
  #turns: ChatMessage[] = [];

  constructor(options: ConversationOptions) {
    this.#options = options;
  }

  get turns(): readonly ChatMessage[] {
    return this.#turns;
  }

  /**
   * Prompt for the answer to `content`, and how many messages were forgotten to make room.
   * @throws InferenceError CONTEXT_LENGTH_EXCEEDED where the message alone is too long; it is not taken in then
   */
  ask(content: string): { readonly prompt: readonly number[]; readonly forgotten: number } {
    const { contextTokens, answerTokens } = this.#options;
    for (let forgotten = 0; ; forgotten += 2) {
      const turns = [...this.#turns.slice(forgotten), { role: 'user', content }];
      const prompt = this.#promptOf(turns);
      const fits = prompt.length + answerTokens <= contextTokens;
      if (!fits && turns.length > 1) continue;
      roomFor(contextTokens, prompt.length, answerTokens);
      this.#turns = turns;
      return { prompt, forgotten };
    }
  }

  answered(content: string): void {
    this.#turns.push({ role: 'assistant', content });
  }

  reset(): void {
    this.#turns = [];
  }

  #promptOf(turns: readonly ChatMessage[]): number[] {
    const { template, encode, system } = this.#options;
    return encode(template.render([...(system === null ? [] : [{ role: 'system', content: system }]), ...turns]));
  }
}
