/**
 * @file `accrete serve` as the official `openai` client meets it, unmodified, on a small checkpoint and the real engine; and
 * what it does with clients that ask too much, ask wrongly, or go away.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import OpenAI, { APIError, AuthenticationError, BadRequestError, NotFoundError, RateLimitError } from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openLanguageModel } from '../src/cli/open-model.ts';
import { Settings } from '../src/cli/settings.ts';
import { PrometheusMetrics } from '../src/http/prometheus.ts';
import type { LanguageModel } from '../src/inference/language-model.ts';
import { generate } from '../src/model/quasar-long/generate.ts';
import { type ModelServer, type ServeOptions, serveModel } from '../src/serve/server.ts';
import { writeSmallCheckpoint } from './support/small-checkpoint.ts';
import { testIo } from './support/test-io.ts';

let folder: string;
let model: LanguageModel;
let server: ModelServer;
let client: OpenAI;

async function open(changes: Partial<ServeOptions> = {}): Promise<{ server: ModelServer; client: OpenAI }> {
  const options = { model, host: '127.0.0.1', port: 0, concurrent: 4, queue: 8, metrics: new PrometheusMetrics() };
  const opened = await serveModel({ ...options, ...changes });
  const client = new OpenAI({ baseURL: `${opened.url}/v1`, apiKey: 'sk-any', maxRetries: 0 });
  return { server: opened, client };
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'accrete-serve-'));
  await writeSmallCheckpoint(join(folder, 'small'));
  const values = { checkpoint: join(folder, 'small'), threads: '1', device: 'cpu', context: '0' };
  const texts = new Map(Object.entries(values).map(([name, text]) => [name, { text, from: 'test' }]));
  const { io } = testIo({ cwd: folder });
  model = { ...(await openLanguageModel(new Settings(texts, { argument: null, cwd: folder }), io)), name: 'small' };
  ({ server, client } = await open());
}, 120_000);
afterAll(async () => {
  await server?.close();
  await model?.model.release();
  rmSync(folder, { recursive: true });
});

const base = { model: 'small', prompt: 'The people of the', max_tokens: 12, temperature: 0 } as const;
const messagesOf = (content: string) => [{ role: 'user' as const, content }];
const chat = { model: 'small', messages: messagesOf('Who?'), max_tokens: 12 };

/** What the engine gives without a server. */
async function direct(prompt: readonly number[], count: number): Promise<string> {
  const ids: number[] = [];
  const options = { maxTokens: count, temperature: 0, topK: 0, seed: 0, stopIds: [model.tokenizer.endOfText] };
  for await (const id of generate(model.model.begin(), prompt, options)) ids.push(id);
  return model.tokenizer.decode(ids);
}

async function rejected(work: Promise<unknown>): Promise<APIError> {
  const error = await work.then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(APIError);
  return error as APIError;
}

describe('models', () => {
  it('lists the one model, and names it', async () => {
    const models = [];
    for await (const each of client.models.list()) models.push(each);
    expect(models).toMatchObject([{ id: 'small', object: 'model', owned_by: 'accrete' }]);
    expect(await client.models.retrieve('small')).toMatchObject({ id: 'small' });
    const error = await rejected(client.models.retrieve('gpt-5'));
    expect(error).toBeInstanceOf(NotFoundError);
    expect({ code: error.code, param: error.param }).toEqual({ code: 'model_not_found', param: 'model' });
  });
});

describe('completions', () => {
  it('continue text as the engine does, and count its tokens', async () => {
    const prompt = model.tokenizer.encode(base.prompt);
    const answer = await client.completions.create(base);
    expect(answer.choices[0]).toMatchObject({ text: await direct(prompt, 12), index: 0, logprobs: null });
    expect(answer.object).toBe('text_completion');
    const { usage } = answer;
    expect(usage).toEqual({
      prompt_tokens: prompt.length,
      completion_tokens: usage!.completion_tokens,
      total_tokens: prompt.length + usage!.completion_tokens,
    });
    expect(usage!.completion_tokens).toBe(answer.choices[0]!.finish_reason === 'length' ? 12 : expect.any(Number));
    expect((await client.completions.create({ ...base, prompt })).choices[0]!.text).toBe(answer.choices[0]!.text);
  });

  it('take several prompts, and several choices of each', async () => {
    const { choices, usage } = await client.completions.create({
      ...{ ...base, prompt: ['one', 'two'], n: 2, temperature: 1, seed: 3, max_tokens: 5 },
    });
    expect(choices.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
    const alone = await client.completions.create({ ...base, prompt: 'two', temperature: 1, seed: 3, max_tokens: 5 });
    expect(choices[2]!.text).toBe(alone.choices[0]!.text);
    expect(choices[3]!.text).not.toBe(choices[2]!.text);
    expect(usage!.prompt_tokens).toBe(model.tokenizer.encode('one').length + model.tokenizer.encode('two').length);
  });

  it('end before a stop text, wherever tokens are cut', async () => {
    const { text } = (await client.completions.create({ ...base, max_tokens: 24 })).choices[0]!;
    const at = Math.floor(text.length / 2);
    const stop = text.slice(at, at + 3);
    for (const stops of [stop, ['never in there', stop]]) {
      const { choices } = await client.completions.create({ ...base, max_tokens: 24, stop: stops });
      expect(choices[0]).toMatchObject({ text: text.slice(0, text.indexOf(stop)), finish_reason: 'stop' });
    }
  });

  it('are the same for the same seed, and others for another', async () => {
    const draw = async (seed: number) => {
      const { choices } = await client.completions.create({ ...base, temperature: 1, max_tokens: 30, seed });
      return choices[0]!.text;
    };
    expect(await draw(7)).toBe(await draw(7));
    expect(await draw(8)).not.toBe(await draw(7));
  });

  it('tell log-probabilities that are those of the model', async () => {
    const { choices } = await client.completions.create({ ...base, logprobs: 3 });
    const { tokens, token_logprobs, top_logprobs, text_offset } = choices[0]!.logprobs!;
    expect(tokens!.join('').startsWith(choices[0]!.text)).toBe(true);
    expect(text_offset![1]).toBe(tokens![0]!.length);
    // At temperature 0 the likeliest is drawn.
    for (const [i, top] of top_logprobs!.entries()) {
      expect(Object.keys(top)[0]).toBe(tokens![i]);
      expect(Object.values(top)[0]).toBe(token_logprobs![i]);
    }
    const prompt = model.tokenizer.encode(base.prompt);
    const logits = await model.model.begin().feedLast(prompt);
    const total = Math.log(logits.reduce((sum, value) => sum + Math.exp(value), 0));
    expect(token_logprobs![0]).toBeCloseTo(Math.max(...logits) - total, 4);
  });

  it('follow penalties and biases', async () => {
    const forced = 40;
    const { choices } = await client.completions.create({ ...base, max_tokens: 4, logit_bias: { [forced]: 100 } });
    expect(choices[0]!.text).toBe(model.tokenizer.decode([forced, forced, forced, forced]));
    const penalised = await client.completions.create({
      ...{ ...base, max_tokens: 4, logit_bias: { [forced]: 20, [forced + 1]: 19 }, presence_penalty: 2 },
    });
    expect(penalised.choices[0]!.text).not.toBe(choices[0]!.text);
  });
});

describe('chat completions', () => {
  it('answer by the chat template', async () => {
    const template = model.template!.render(messagesOf('Who?'));
    expect(template).toBe('<role>HUMAN</role>Who?<role>ASSISTANT</role>');
    const answer = await client.chat.completions.create({ ...chat, temperature: 0 });
    const { message } = answer.choices[0]!;
    expect(message.role).toBe('assistant');
    expect(message.content).toBe(await direct(model.tokenizer.encode(template), 12));
    expect(answer.usage!.prompt_tokens).toBe(model.tokenizer.encode(template).length);
    const parts = [
      { type: 'text' as const, text: 'Wh' },
      { type: 'text' as const, text: 'o?' },
    ];
    const again = await client.chat.completions.create({
      ...{ ...chat, temperature: 0, messages: [{ role: 'user', content: parts }] },
    });
    expect(again.choices[0]!.message.content).toBe(message.content);
  });

  it('stream the same text, its log-probabilities, and the usage at the end', async () => {
    const asked = { ...chat, seed: 5, temperature: 1, logprobs: true, top_logprobs: 2 };
    const whole = await client.chat.completions.create(asked);
    const stream = await client.chat.completions.create({
      ...{ ...asked, stream: true, stream_options: { include_usage: true } },
    });
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    const choices = chunks.flatMap((chunk) => chunk.choices);
    expect(choices[0]!.delta).toMatchObject({ role: 'assistant', content: '' });
    expect(choices.map(({ delta }) => delta.content ?? '').join('')).toBe(whole.choices[0]!.message.content);
    expect(choices.at(-1)!.finish_reason).toBe(whole.choices[0]!.finish_reason);
    expect(choices.flatMap(({ logprobs }) => logprobs?.content ?? [])).toEqual(whole.choices[0]!.logprobs!.content);
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: whole.usage });
    expect(new Set(chunks.map(({ id }) => id)).size).toBe(1);
    const first = whole.choices[0]!.logprobs!.content![0]!;
    expect(first.top_logprobs).toHaveLength(2);
    expect(Buffer.from(first.bytes!)).toEqual(
      Buffer.from(
        model.tokenizer.bytesOf(
          Array.from({ length: 512 }, (_, id) => id).find((id) => nameEquals(id, first.bytes!))!,
        )!,
      ),
    );
  });

  it('stream several choices, each told by its index', async () => {
    const stream = client.chat.completions.stream({ ...chat, n: 3, seed: 2, temperature: 1 });
    const streamed = (await stream.finalChatCompletion()).choices.map(({ message }) => message.content);
    const whole = await client.chat.completions.create({ ...chat, n: 3, seed: 2, temperature: 1 });
    expect(streamed).toEqual(whole.choices.map(({ message }) => message.content));
    expect(new Set(streamed).size).toBeGreaterThan(1);
  });

  it('answer eight clients at a time as they answer one', async () => {
    const ask = async (seed: number) => {
      const asked = { ...chat, messages: messagesOf(`Question ${seed}`), seed, temperature: 1, max_tokens: 20 };
      return (await client.chat.completions.create(asked)).choices[0]!.message.content;
    };
    const seeds = [1, 2, 3, 4, 5, 6, 7, 8];
    const together = await Promise.all(seeds.map(ask));
    const alone = [];
    for (const seed of seeds) alone.push(await ask(seed));
    expect(together).toEqual(alone);
  }, 60_000);
});

const nameEquals = (id: number, bytes: readonly number[]): boolean =>
  Buffer.compare(Buffer.from(model.tokenizer.bytesOf(id) ?? []), Buffer.from(bytes)) === 0;

describe('errors', () => {
  const cases: readonly [string, object, string | null, string | RegExp][] = [
    ['no model of that name', { model: 'gpt-5' }, 'model', /no model 'gpt-5' here; this server has 'small'/],
    ['a temperature out of bounds', { temperature: 3 }, 'temperature', /temperature/],
    ['a field that is not done', { tools: [] }, 'tools', /'tools' is not supported/],
    ['a JSON schema', { response_format: { type: 'json_object' } }, 'response_format.type', /only text/],
    ['more than the context holds', { max_tokens: 5_000 }, 'max_tokens', /the context has 512 tokens/],
    ['no messages', { messages: [] }, 'messages', /messages/],
    ['an image', { messages: [{ role: 'user', content: [{ type: 'image_url' }] }] }, 'messages.0.content', /./],
    ['top_logprobs alone', { top_logprobs: 2 }, 'top_logprobs', /logprobs: true/],
  ];
  for (const [name, change, param, sentence] of cases)
    it(`name ${name}`, async () => {
      const error = await rejected(client.chat.completions.create({ ...chat, ...change } as typeof chat));
      expect(error).toBeInstanceOf(name.startsWith('no model') ? NotFoundError : BadRequestError);
      expect({ type: error.type, param: error.param }).toEqual({ type: 'invalid_request_error', param });
      expect(error.message).toMatch(sentence);
    });

  it('have their form for whatever comes', async () => {
    const post = async (body: string, type = 'application/json') => {
      const answer = await fetch(`${server.url}/v1/completions`, {
        method: 'POST',
        body,
        headers: { 'content-type': type },
      });
      return { status: answer.status, body: (await answer.json()) as { error: { message: string; type: string } } };
    };
    const answers = [
      await post('{'),
      await post('[]'),
      await post('{}', 'text/plain'),
      await post(JSON.stringify({ ...base, prompt: 'x'.repeat(5 << 20) })),
      await post(JSON.stringify({ ...base, prompt: '' })),
      await post(JSON.stringify({ ...base, prompt: [4_000] })),
    ];
    expect(answers.map(({ status }) => status)).toEqual([400, 400, 415, 413, 400, 400]);
    for (const { body } of answers) expect(body.error.type).toBe('invalid_request_error');
    const lost = await fetch(`${server.url}/v1/nothing`);
    expect(await lost.json()).toMatchObject({ error: { code: 'unknown_url', param: null } });
  });

  it('refuse who has no key, where one is asked for', async () => {
    const closed = await open({ apiKey: 'sk-secret' });
    try {
      expect(await rejected(closed.client.completions.create(base))).toBeInstanceOf(AuthenticationError);
      const known = new OpenAI({ baseURL: `${closed.server.url}/v1`, apiKey: 'sk-secret', maxRetries: 0 });
      expect((await known.completions.create({ ...base, max_tokens: 1 })).choices).toHaveLength(1);
      expect((await fetch(`${closed.server.url}/healthz`)).status).toBe(200);
    } finally {
      await closed.server.close();
    }
  });
});

describe('places', () => {
  const endless = { ...base, max_tokens: 90_000, logit_bias: { 0: -100 }, temperature: 1 } as const;

  /** No answer ends by itself. */
  const roomy = () => ({ model: { ...model, contextTokens: 100_000 } });

  it('run out: 429, and when to come again', async () => {
    const small = await open({ ...roomy(), concurrent: 1, queue: 1 });
    try {
      const [leave, running] = [new AbortController(), [0, 1]];
      const streams = await Promise.all(
        running.map(() => small.client.completions.create({ ...endless, stream: true }, { signal: leave.signal })),
      );
      const error = await rejected(small.client.completions.create(base));
      expect(error).toBeInstanceOf(RateLimitError);
      expect(error.code).toBe('queue_full');
      expect(Number(error.headers!.get('retry-after'))).toBeGreaterThanOrEqual(1);
      const many = await rejected(small.client.completions.create({ ...base, n: 3 }));
      expect({ status: many.status, param: many.param }).toEqual({ status: 400, param: 'n' });
      leave.abort();
      expect(streams).toHaveLength(2);
      await until(() => small.server.scheduler.activeCount + small.server.scheduler.waitingCount === 0);
      expect((await small.client.completions.create({ ...base, max_tokens: 1 })).choices).toHaveLength(1);
    } finally {
      await small.server.close();
    }
  }, 60_000);

  it('are free again when a client goes away in the middle, streamed or not', async () => {
    const { server, client } = await open(roomy());
    const stream = await client.completions.create({ ...endless, stream: true });
    for await (const chunk of stream) {
      expect(chunk.choices[0]!.finish_reason).toBeNull();
      break;
    }
    await until(() => server.scheduler.activeCount === 0);
    const leave = new AbortController();
    const whole = client.completions.create(endless, { signal: leave.signal }).catch((error: Error) => error);
    await until(() => server.scheduler.activeCount === 1);
    leave.abort();
    expect(await whole).toBeInstanceOf(Error);
    await until(() => server.scheduler.activeCount === 0);
    await server.close();
  }, 60_000);

  it('and tokens are counted in /metrics', async () => {
    await client.completions.create(base);
    const text = await (await fetch(`${server.url}/metrics`)).text();
    expect(text).toMatch(/^accrete_serve_requests_total\{route="\/v1\/completions",status="200"\} [1-9]/m);
    expect(text).toMatch(/^accrete_serve_completion_tokens_total [1-9]/m);
    expect(text).toMatch(/^accrete_serve_sequences_active 0$/m);
    expect(text).toMatch(/^accrete_serve_first_token_seconds_count [1-9]/m);
    expect(await (await fetch(`${server.url}/health`)).json()).toEqual({ ok: true });
  });
});

/** Waits for the server's own state; the test's limit is the bound. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 5));
}
