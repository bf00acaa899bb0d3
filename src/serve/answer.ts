/** @file Carries out a plan: its sequences run side by side, and are told whole or as they come. */
import { randomUUID } from 'node:crypto';
import { type CompletionPart, type CompletionRequest, complete } from '../inference/completion.ts';
import type { LanguageModel } from '../inference/language-model.ts';
import type { Scheduler } from '../inference/scheduler.ts';
import type { Metrics } from '../util/clock.ts';
import type { EventStream } from './event-stream.ts';
import { type Choice, type Plan, usageOf } from './plan.ts';

export interface AnswerParts {
  readonly model: LanguageModel;
  readonly scheduler: Scheduler;
  readonly metrics: Metrics;
  readonly fingerprint: string;
  readonly nowMs: () => number;
  /** Aborts when the client is gone. */
  readonly signal: AbortSignal;
}

/** The whole answer as one body. */
export async function wholeAnswer(plan: Plan, parts: AnswerParts): Promise<object> {
  const choices = await together(plan.requests, parts, async (run, index) => collect(run, index));
  const completion = choices.reduce((sum, { tokens }) => sum + tokens.length, 0);
  return {
    ...headOf(plan, parts, plan.wording.object),
    choices: choices.map((choice) => plan.wording.choice(choice)),
    usage: usageOf(plan.promptTokens, completion),
  };
}

/** Chunks as they come, then the usage where it was asked for, then the end. */
export async function streamAnswer(plan: Plan, stream: EventStream, parts: AnswerParts): Promise<void> {
  const head = headOf(plan, parts, plan.wording.chunkObject);
  const usage = plan.includesUsage ? { usage: null } : {};
  const send = async (choice: object | null): Promise<void> => {
    if (choice !== null) await stream.send({ ...head, choices: [choice], ...usage });
  };
  let completion = 0;
  await together(plan.requests, parts, async (run, index) => {
    await send(plan.wording.opening(index));
    for await (const part of run) {
      completion += part.tokens.length;
      await send(plan.wording.chunk(part, index));
    }
  });
  if (plan.includesUsage) await stream.send({ ...head, choices: [], usage: usageOf(plan.promptTokens, completion) });
  await stream.send('[DONE]');
  stream.end();
}

function headOf({ wording }: Plan, { model, fingerprint, nowMs }: AnswerParts, object: string) {
  return {
    id: `${wording.prefix}-${randomUUID().replaceAll('-', '')}`,
    object,
    created: Math.floor(nowMs() / 1000),
    model: model.name,
    system_fingerprint: fingerprint,
  };
}

/** Where one sequence fails the others of the request are ended. */
async function together<T>(
  requests: readonly CompletionRequest[],
  parts: AnswerParts,
  take: (run: AsyncIterable<CompletionPart>, index: number) => Promise<T>,
): Promise<T[]> {
  const ending = new AbortController();
  const signal = AbortSignal.any([parts.signal, ending.signal]);
  const decode = (ids: readonly number[]): string => parts.model.tokenizer.decode(ids);
  const runs = requests.map(async (request, index) => {
    const run = counted(complete(parts.scheduler, decode, { ...request, signal }), request, parts.metrics);
    try {
      return await take(run, index);
    } catch (error) {
      ending.abort(error);
      throw error;
    }
  });
  const settled = await Promise.allSettled(runs);
  return settled.map((each) => {
    if (each.status === 'rejected') throw ending.signal.reason ?? each.reason;
    return each.value;
  });
}

async function* counted(
  run: AsyncIterable<CompletionPart>,
  { prompt }: CompletionRequest,
  metrics: Metrics,
): AsyncGenerator<CompletionPart, void> {
  const startedAt = performance.now();
  let isFirst = true;
  for await (const part of run) {
    if (isFirst) {
      metrics.observe('serve_first_token_seconds', (performance.now() - startedAt) / 1_000);
      metrics.count('serve_prompt_tokens_total', prompt.length);
    }
    isFirst = false;
    metrics.count('serve_completion_tokens_total', part.tokens.length);
    yield part;
  }
}

async function collect(run: AsyncIterable<CompletionPart>, index: number): Promise<Choice> {
  const texts: string[] = [];
  const tokens: CompletionPart['tokens'][number][] = [];
  let finish: CompletionPart['finish'] = null;
  for await (const part of run) {
    texts.push(part.text);
    tokens.push(...part.tokens);
    finish = part.finish;
  }
  return { index, text: texts.join(''), tokens, finish };
}
