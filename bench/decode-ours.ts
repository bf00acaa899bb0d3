/** @file Our side of the decoding benchmark: PRESET THREADS; a process that decodes on request, as `llama/decode.mjs` does. */
import { createInterface } from 'node:readline';
import { generate, openDecoder } from '../src/model/quasar-long/generate.ts';
import { initParams } from '../src/model/quasar-long/init.ts';
import {
  type DecodeAnswer,
  type DecodeQuestion,
  type LogitsAnswer,
  type LogitsQuestion,
  type SubjectName,
  subjectConfig,
} from './decode-job.ts';

async function main(subject: SubjectName, threads: number): Promise<void> {
  const config = subjectConfig(subject);
  const decoder = await openDecoder(config, initParams(config, 'bench'), { threads });
  console.log(JSON.stringify({ ready: true }));
  for await (const line of createInterface({ input: process.stdin })) {
    const question = JSON.parse(line) as DecodeQuestion | LogitsQuestion;
    const { prompt } = question;
    decoder.reset();
    if ('logits' in question) {
      console.log(JSON.stringify(readLogits(await decoder.feed(prompt), prompt, config.vocab_size)));
      continue;
    }
    const { count } = question;
    await decoder.prepare(prompt.length);
    const ids: number[] = [];
    const ms: number[] = [];
    let before = performance.now();
    const greedy = { temperature: 0, topK: 0, seed: 0, maxTokens: count, stopIds: [] };
    for await (const id of generate(decoder, prompt, greedy)) {
      const now = performance.now();
      ms.push(now - before);
      before = now;
      ids.push(id);
    }
    const answer: DecodeAnswer = { ids, ms };
    console.log(JSON.stringify(answer));
  }
  await decoder.release();
}

function readLogits(logits: Float32Array, prompt: readonly number[], vocab: number): LogitsAnswer {
  return prompt.slice(1).map((id, i) => {
    const row = logits.subarray(i * vocab, (i + 1) * vocab);
    const top = row.reduce((a, b) => Math.max(a, b));
    const total = row.reduce((sum, value) => sum + Math.exp(value - top), 0);
    return { greedy: row.indexOf(top), next: row[id]! - top - Math.log(total) };
  });
}

await main(process.argv[2] as SubjectName, Number(process.argv[3]));
