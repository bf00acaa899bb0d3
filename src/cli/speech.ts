/** @file One answer of a speaker as it comes: text piece by piece, and afterwards how fast it was and why it ended. */
import { TextStream } from '../data/text-stream.ts';
import type { ParsedSampling } from './sampling.ts';
import type { Speaker } from './speaker.ts';

export interface Speech {
  readonly text: string;
  readonly tokens: number;
  readonly promptTokens: number;
  /** `stop`: end of text or a stop string; `length`: as many tokens as were allowed; `interrupted`: by the signal. */
  readonly finish: 'stop' | 'length' | 'interrupted';
  readonly promptTokensPerSecond: number;
  /** Without the first token, which falls out of reading the prompt. */
  readonly tokensPerSecond: number;
}

export interface SpeechOptions extends Omit<ParsedSampling, 'seed'> {
  readonly seed: number | string;
  readonly maxTokens: number;
  readonly signal: AbortSignal;
  write(part: string): void;
}

/** Does not fail where the signal aborts: what was said until then is the answer. */
export async function speech(
  speaker: Speaker,
  prompt: readonly number[],
  { write, ...options }: SpeechOptions,
): Promise<Speech> {
  const stream = new TextStream({ decode: (ids) => speaker.decode(ids), stops: options.stops });
  const startedAt = performance.now();
  let promptMs = 0;
  let tokens = 0;
  let finish: Speech['finish'] = 'stop';
  const onPrompt = (): void => void (promptMs = performance.now() - startedAt);
  try {
    for await (const id of speaker.speak(prompt, { ...options, onPrompt })) {
      tokens++;
      write(stream.push(id));
      if (stream.isStopped) break;
    }
    if (!stream.isStopped && tokens === options.maxTokens) finish = 'length';
  } catch (error) {
    if (!options.signal.aborted) throw error;
    finish = 'interrupted';
  }
  write(stream.end());
  const decodeMs = performance.now() - startedAt - promptMs;
  const perSecond = (count: number, ms: number): number => (ms > 0 ? (count / ms) * 1000 : 0);
  return {
    ...{ text: stream.text, tokens, promptTokens: prompt.length, finish },
    promptTokensPerSecond: perSecond(prompt.length, promptMs),
    tokensPerSecond: perSecond(Math.max(0, tokens - 1), decodeMs),
  };
}

export const speedOf = ({ promptTokens, promptTokensPerSecond, tokens, tokensPerSecond }: Speech): string =>
  `prompt: ${promptTokens} tokens, ${promptTokensPerSecond.toFixed(1)} a second; ` +
  `answer: ${tokens} tokens, ${tokensPerSecond.toFixed(1)} a second`;

/** As shells expect it of a program that a signal ended. */
export const interruptedExitCode = 130;
