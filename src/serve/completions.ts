/** @file `POST /v1/completions`: text or tokens in, their continuation out. */
import type { CompletionPart, DrawnToken } from '../inference/completion.ts';
import type { LanguageModel } from '../inference/language-model.ts';
import { type Plan, planOf, type Wording } from './plan.ts';
import type { CompletionBody } from './schemas.ts';

/** OpenAI's default. */
const defaultMaxTokens = 16;

export function completionPlan(model: LanguageModel, body: CompletionBody): Plan {
  return planOf(model, body, {
    prompts: promptsOf(body.prompt, (text) => model.tokenizer.encode(text)),
    maxTokens: body.max_tokens ?? defaultMaxTokens,
    logprobs: body.logprobs ?? null,
    stops: [],
    wording: wordingFor(model),
  });
}

function promptsOf(prompt: CompletionBody['prompt'], encode: (text: string) => number[]): readonly number[][] {
  if (typeof prompt === 'string') return [encode(prompt)];
  if (typeof prompt[0] === 'number') return [prompt as number[]];
  return (prompt as (string | number[])[]).map((each) => (typeof each === 'string' ? encode(each) : each));
}

function wordingFor(model: LanguageModel): Wording {
  const lengths = new Map<number, number>();
  const choice = (part: CompletionPart, index: number): object => {
    const offset = lengths.get(index) ?? 0;
    const logprobs = logprobsOf(model, part.tokens, offset);
    lengths.set(index, offset + (logprobs?.length ?? 0));
    return { text: part.text, index, logprobs: logprobs?.told ?? null, finish_reason: part.finish };
  };
  return {
    ...{ prefix: 'cmpl', object: 'text_completion', chunkObject: 'text_completion' },
    choice: (each) => choice(each, each.index),
    opening: () => null,
    chunk: (part, index) =>
      part.text === '' && part.finish === null && part.tokens.every(({ logprobs }) => logprobs === null)
        ? null
        : choice(part, index),
  };
}

/** In the old form: parallel lists; `text_offset` counts from the beginning of the continuation. */
function logprobsOf(model: LanguageModel, tokens: readonly DrawnToken[], offset: number) {
  if (!tokens.some(({ logprobs }) => logprobs !== null)) return null;
  const name = (id: number): string => nameOf(model.tokenizer.bytesOf(id));
  const names = tokens.map(({ id }) => name(id));
  let length = 0;
  const offsets = names.map((each) => {
    length += each.length;
    return offset + length - each.length;
  });
  return {
    length,
    told: {
      tokens: names,
      token_logprobs: tokens.map(({ logprobs }) => logprobs!.chosen),
      top_logprobs: tokens.map(({ logprobs }) =>
        Object.fromEntries(logprobs!.top.map(({ id, logprob }) => [name(id), logprob])),
      ),
      text_offset: offsets,
    },
  };
}

/** A token that is no whole text is named by its bytes. */
export function nameOf(bytes: Uint8Array | null): string {
  if (bytes === null) return '';
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return `bytes:${[...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')}`;
  }
}
