/** @file What a request asks of the model: its choices as sequences, and the words in which they are told. */
import { randomInt } from 'node:crypto';
import type { CompletionPart, CompletionRequest } from '../inference/completion.ts';
import { type LanguageModel, roomFor, stopIdsOf } from '../inference/language-model.ts';
import type { SamplerOptions } from '../inference/sampler.ts';
import { ApiFault } from './errors.ts';
import type { CommonBody } from './schemas.ts';

export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
}

/** A choice as it is collected: all parts in one. */
export interface Choice extends CompletionPart {
  readonly index: number;
}

/** How one of the two APIs tells its choices. */
export interface Wording {
  /** Of the ids and `object` fields: `cmpl` and `text_completion`, ... */
  readonly prefix: string;
  readonly object: string;
  readonly chunkObject: string;
  choice(choice: Choice): object;
  /** The first chunk of a choice, before any text; null: there is none. */
  opening(index: number): object | null;
  /** A chunk of a choice; null where there is nothing to tell. */
  chunk(part: CompletionPart, index: number): object | null;
}

export interface Plan {
  readonly requests: readonly CompletionRequest[];
  /** Each prompt once, however many choices continue it. */
  readonly promptTokens: number;
  readonly isStream: boolean;
  readonly includesUsage: boolean;
  readonly wording: Wording;
}

export interface PlanOptions {
  readonly prompts: readonly (readonly number[])[];
  /** Null: as many as fit. */
  readonly maxTokens: number | null;
  readonly logprobs: number | null;
  /** Beside those of the request. */
  readonly stops: readonly string[];
  readonly wording: Wording;
}

/** @throws ApiFault, InferenceError CONTEXT_LENGTH_EXCEEDED */
export function planOf(model: LanguageModel, body: CommonBody, options: PlanOptions): Plan {
  const { prompts, wording, logprobs } = options;
  const vocab = model.model.config.vocab_size;
  for (const prompt of prompts) {
    if (prompt.length === 0) throw new ApiFault('the prompt is empty; give at least one token', { param: 'prompt' });
    if (prompt.some((id) => id >= vocab))
      throw new ApiFault(`a token id is not below ${vocab}`, { param: 'prompt', code: 'invalid_token' });
  }
  const stops = [...(typeof body.stop === 'string' ? [body.stop] : (body.stop ?? [])), ...options.stops];
  const seed = body.seed ?? randomInt(2 ** 47);
  const copies = body.n ?? 1;
  const requests = prompts.flatMap((prompt) => {
    const maxTokens = roomFor(model.contextTokens, prompt.length, options.maxTokens);
    return Array.from({ length: copies }, (_, i) => ({
      ...{ prompt, maxTokens, stops, logprobs, stopIds: stopIdsOf(model) },
      // The first choice is what the request would get alone.
      sampling: samplingOf(body, i === 0 ? seed : `${seed} ${i}`),
    }));
  });
  return {
    ...{ requests, wording, isStream: body.stream === true },
    promptTokens: prompts.reduce((sum, { length }) => sum + length, 0),
    includesUsage: body.stream_options?.include_usage === true,
  };
}

function samplingOf(body: CommonBody, seed: number | string): SamplerOptions {
  return {
    seed,
    temperature: body.temperature ?? 1,
    topK: body.top_k ?? 0,
    topP: body.top_p ?? 1,
    repetitionPenalty: body.repetition_penalty ?? 1,
    frequencyPenalty: body.frequency_penalty ?? 0,
    presencePenalty: body.presence_penalty ?? 0,
    bias: new Map(Object.entries(body.logit_bias ?? {}).map(([id, value]) => [Number(id), value])),
  };
}

export const usageOf = (prompt: number, completion: number): Usage => ({
  prompt_tokens: prompt,
  completion_tokens: completion,
  total_tokens: prompt + completion,
});
