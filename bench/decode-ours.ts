/** @file Our side of the decoding benchmark: PRESET THREADS; a process that decodes on request, as `llama/decode.mjs` does. */
import { createInterface } from 'node:readline';
import { generate, openDecoder } from '../src/model/quasar-long/generate.ts';
import { initParams } from '../src/model/quasar-long/init.ts';
import { type DecodeAnswer, type DecodeQuestion, type SubjectName, subjectConfig } from './decode-job.ts';

async function main(subject: SubjectName, threads: number): Promise<void> {
  const config = subjectConfig(subject);
  const decoder = await openDecoder(config, initParams(config, 'bench'), { threads });
  console.log(JSON.stringify({ ready: true }));
  for await (const line of createInterface({ input: process.stdin })) {
    const { prompt, count } = JSON.parse(line) as DecodeQuestion;
    decoder.reset();
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

await main(process.argv[2] as SubjectName, Number(process.argv[3]));
