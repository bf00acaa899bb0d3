/** @file A speaker on Accrete's own engine: one sequence, which goes on where the next prompt only adds to what it has read. */
import type { ChatTemplate } from '../inference/chat-template.ts';
import { type LanguageModel, stopIdsOf } from '../inference/language-model.ts';
import { generate } from '../model/quasar-long/generate.ts';
import type { Speaker, SpeakOptions } from './speaker.ts';

export class OwnSpeaker implements Speaker {
  readonly name: string;
  readonly template: ChatTemplate | null;
  readonly contextTokens: number;
  readonly #model: LanguageModel;
  readonly #stopIds: readonly number[];
  readonly #sequence;
  /** What the sequence has taken in. */
  #past: number[] = [];

  constructor(model: LanguageModel) {
    this.#model = model;
    ({ name: this.name, template: this.template, contextTokens: this.contextTokens } = model);
    this.#stopIds = stopIdsOf(model);
    this.#sequence = model.model.begin();
  }

  encode(text: string): number[] {
    return this.#model.tokenizer.encode(text);
  }

  decode(ids: readonly number[]): string {
    return this.#model.tokenizer.decode(ids);
  }

  prepare(promptTokens: number): Promise<void> {
    return this.#sequence.prepare(promptTokens);
  }

  async *speak(prompt: readonly number[], options: SpeakOptions): AsyncGenerator<number, void> {
    const isMore = prompt.length > this.#past.length && this.#past.every((id, i) => prompt[i] === id);
    // The branches' states cannot be taken back to an earlier token: another beginning is read anew.
    if (!isMore) this.#sequence.reset();
    const before = isMore ? this.#past : [];
    const drawn: number[] = [];
    const stops = { before, stopIds: this.#stopIds };
    try {
      for await (const id of generate(this.#sequence, prompt.slice(before.length), { ...options, ...stops })) {
        drawn.push(id);
        yield id;
      }
    } finally {
      // A token is taken in when the next one is asked for.
      this.#past = [...prompt, ...drawn].slice(0, this.#sequence.length);
    }
  }

  async release(): Promise<void> {
    await this.#model.model.release();
  }
}
