/** @file What `accrete chat` and `accrete generate` speak with: a model on Accrete's own engine, or one on llama.cpp. */
import type { ChatTemplate } from '../inference/chat-template.ts';
import type { SamplingOptions } from '../model/quasar-long/sampling.ts';

export interface SpeakOptions extends SamplingOptions {
  readonly maxTokens: number;
  readonly seed: number | string;
  readonly signal: AbortSignal;
  /** Called when the prompt has been read. */
  readonly onPrompt?: () => void;
}

export interface Speaker {
  readonly name: string;
  readonly template: ChatTemplate | null;
  readonly contextTokens: number;
  encode(text: string): number[];
  decode(ids: readonly number[]): string;
  /** Opens what reading so many tokens will need, so that the first answer is not slower than others. */
  prepare(promptTokens: number): Promise<void>;
  /** Token ids after the prompt, up to the end of text. What the prompt shares with the one before is not read again. */
  speak(prompt: readonly number[], options: SpeakOptions): AsyncIterable<number>;
  release(): Promise<void>;
}
