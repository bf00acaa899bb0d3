/**
 * @file Running a release: how long until a checkpoint is ready, and tokens a second of `accrete chat`'s speaker and of
 * `accrete serve` with 1 and 8 clients over HTTP. The model is preset nano, hybrid layers and all, with seeded weights.
 */
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import OpenAI from 'openai';
import { openLanguageModel } from '../src/cli/open-model.ts';
import { OwnSpeaker } from '../src/cli/own-speaker.ts';
import { Settings } from '../src/cli/settings.ts';
import { speech } from '../src/cli/speech.ts';
import { CORPUS_DIR } from '../src/data/prepared.ts';
import { writeHuggingFaceFolder } from '../src/export/hugging-face.ts';
import { PrometheusMetrics } from '../src/http/prometheus.ts';
import type { LanguageModel } from '../src/inference/language-model.ts';
import { initParams } from '../src/model/quasar-long/init.ts';
import { presetConfig } from '../src/model/quasar-long/presets.ts';
import { serveModel } from '../src/serve/server.ts';
import { testIo } from '../tests/support/test-io.ts';
import { type Bench, type BenchRow, percentile, spread, time } from './measure.ts';

const answerTokens = 128;
const rounds = 5;
const threads = Math.min(2, availableParallelism());
const question = 'What did the people of the north build when the river rose, and who paid for it?';

export const serveBench: Bench = {
  name: 'serve',
  about: `preset nano (hybrid), float32, ${threads} threads: loading, then answers of ${answerTokens} tokens by chat and over HTTP`,
  async run() {
    const folder = mkdtempSync(join(tmpdir(), 'accrete-bench-serve-'));
    try {
      await writeCheckpoint(join(folder, 'nano'));
      return await measure(folder);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
};

async function writeCheckpoint(folder: string): Promise<void> {
  const config = presetConfig('nano');
  const file = (name: string) => [name, readFileSync(join(CORPUS_DIR, 'nano', name))] as const;
  await writeHuggingFaceFolder(folder, {
    ...{ config, params: initParams(config, 'bench') },
    files: new Map([file('tokenizer.json'), file('tokenizer_config.json')]),
    card: { name: 'bench', licence: 'apache-2.0', summary: '', numbers: [], sources: [], notes: [] },
  });
}

function open(folder: string): Promise<LanguageModel> {
  const values = { checkpoint: join(folder, 'nano'), threads: String(threads), device: 'cpu', context: '0' };
  const texts = new Map(Object.entries(values).map(([name, text]) => [name, { text, from: 'bench' }]));
  return openLanguageModel(new Settings(texts, { argument: null, cwd: folder }), testIo({ cwd: folder }).io);
}

async function measure(folder: string): Promise<BenchRow[]> {
  const bytes = statSync(join(folder, 'nano', 'model.safetensors')).size;
  const opened = await time(
    async () => {
      const model = await open(folder);
      await model.model.begin().prepare(1);
      await model.model.release();
    },
    { runs: 5, warmups: 1 },
  );
  const model = await open(folder);
  try {
    return [
      {
        what: 'load',
        value: `${(opened.medianMs / 1000).toFixed(2)} s`,
        detail: `${(bytes / 1e6).toFixed(0)} MB, to the first token; ${spread(opened)}`,
      },
      await chat(model),
      ...(await serve(model)),
      {
        what: 'load average',
        value: loadavg()[0]!.toFixed(1),
        detail: `of the last minute, this bench included; ${availableParallelism()} cores`,
      },
    ];
  } finally {
    await model.model.release();
  }
}

/** As `accrete chat` asks its speaker, without a terminal. */
async function chat(model: LanguageModel): Promise<BenchRow> {
  const speaker = new OwnSpeaker(model);
  const template = model.template!;
  const rates: number[] = [];
  for (let round = 0; round <= rounds; round++) {
    const prompt = speaker.encode(template.render([{ role: 'user', content: `${question} ${round}` }]));
    const sampling = { temperature: 0.8, topK: 40, stops: [], seed: round };
    const signal = new AbortController().signal;
    const said = await speech(speaker, prompt, { ...sampling, maxTokens: answerTokens, signal, write: () => {} });
    // The first round warms up; an answer that ended early says nothing of the rate.
    if (round > 0 && said.finish === 'length') rates.push(said.tokensPerSecond);
  }
  return row('chat', rates, '');
}

async function serve(model: LanguageModel): Promise<BenchRow[]> {
  const metrics = new PrometheusMetrics();
  const options = { host: '127.0.0.1', port: 0, concurrent: 8, queue: 8, metrics };
  const named = { ...model, name: 'nano' };
  const server = await serveModel({ ...options, model: named });
  const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 });
  try {
    const found: BenchRow[] = [];
    for (const clients of [1, 8]) {
      const rates: number[] = [];
      const firstMs: number[] = [];
      for (let round = 0; round <= rounds; round++) {
        const startedAt = performance.now();
        const answers = await Promise.all(
          Array.from({ length: clients }, (_, i) => ask(client, `${question} ${round} ${i}`, round * 8 + i)),
        );
        const ms = performance.now() - startedAt;
        if (round === 0) continue;
        rates.push((answers.reduce((sum, { tokens }) => sum + tokens, 0) / ms) * 1000);
        firstMs.push(...answers.map((answer) => answer.firstMs));
      }
      const first = `, first text after ${percentile(firstMs, 0.5).toFixed(0)} ms (median)`;
      found.push(row(`serve, ${clients} ${clients === 1 ? 'client' : 'clients together'}`, rates, first));
    }
    return found;
  } finally {
    await server.close();
  }
}

async function ask(client: OpenAI, content: string, seed: number): Promise<{ tokens: number; firstMs: number }> {
  const startedAt = performance.now();
  let firstMs = 0;
  let tokens = 0;
  const stream = await client.chat.completions.create({
    ...{ model: 'nano', messages: [{ role: 'user', content }], max_tokens: answerTokens, seed, temperature: 0.8 },
    ...{ logit_bias: { 0: -100 }, stream: true, stream_options: { include_usage: true } },
  });
  for await (const chunk of stream) {
    if (firstMs === 0 && chunk.choices[0]?.delta.content) firstMs = performance.now() - startedAt;
    tokens = chunk.usage?.completion_tokens ?? tokens;
  }
  return { tokens, firstMs };
}

function row(what: string, rates: readonly number[], detail: string): BenchRow {
  const at = (share: number): string => percentile(rates, share).toFixed(0);
  return {
    ...{ what, value: `${at(0.5)} tokens/s` },
    detail: `${at(0.1)}-${at(0.9)} (10-90 % of ${rates.length} rounds)${detail}`,
  };
}
