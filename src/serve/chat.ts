/** @file `POST /v1/chat/completions`: messages in, the assistant's next one out. */
import type { DrawnToken } from '../inference/completion.ts';
import { type LanguageModel, templateOf } from '../inference/language-model.ts';
import { nameOf } from './completions.ts';
import { ApiFault } from './errors.ts';
import { type Plan, planOf, type Wording } from './plan.ts';
import type { ChatBody } from './schemas.ts';

export function chatPlan(model: LanguageModel, body: ChatBody): Plan {
  const template = templateOf(model);
  if ((body.top_logprobs ?? 0) > 0 && body.logprobs !== true)
    throw new ApiFault('top_logprobs needs logprobs: true', { param: 'top_logprobs' });
  const messages = body.messages.map(({ role, content }) => ({
    // What newer models call the system's role.
    role: role === 'developer' ? 'system' : role,
    content: typeof content === 'string' ? content : content.map(({ text }) => text).join(''),
  }));
  const opening = template.turnOpening;
  return planOf(model, body, {
    prompts: [model.tokenizer.encode(template.render(messages))],
    maxTokens: body.max_completion_tokens ?? body.max_tokens ?? null,
    logprobs: body.logprobs === true ? (body.top_logprobs ?? 0) : null,
    stops: opening === null ? [] : [opening],
    wording: wordingFor(model),
  });
}

function wordingFor(model: LanguageModel): Wording {
  const logprobs = (tokens: readonly DrawnToken[]) => logprobsOf(model, tokens);
  return {
    ...{ prefix: 'chatcmpl', object: 'chat.completion', chunkObject: 'chat.completion.chunk' },
    choice: ({ index, text, tokens, finish }) => ({
      index,
      message: { role: 'assistant', content: text, refusal: null },
      ...{ logprobs: logprobs(tokens), finish_reason: finish },
    }),
    opening: (index) => ({
      ...{ index, logprobs: null, finish_reason: null },
      delta: { role: 'assistant', content: '', refusal: null },
    }),
    chunk({ text, tokens, finish }, index) {
      const told = logprobs(tokens);
      if (text === '' && finish === null && told === null) return null;
      const delta = text === '' && told === null ? {} : { content: text };
      return { index, delta, logprobs: told, finish_reason: finish };
    },
  };
}

function logprobsOf(model: LanguageModel, tokens: readonly DrawnToken[]) {
  const described = (id: number, logprob: number) => {
    const bytes = model.tokenizer.bytesOf(id);
    return { token: nameOf(bytes), logprob, bytes: bytes === null ? null : [...bytes] };
  };
  const content = tokens.flatMap(({ id, logprobs }) =>
    logprobs === null
      ? []
      : [
          {
            ...described(id, logprobs.chosen),
            top_logprobs: logprobs.top.map((top) => described(top.id, top.logprob)),
          },
        ],
  );
  return content.length === 0 ? null : { content, refusal: null };
}
