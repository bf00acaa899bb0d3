/** @file Does `accrete generate`: the prompt and its continuation on standard output, as it comes. */

import { TextStream } from '../../data/text-stream.ts';
import { loadCheckpoint } from '../../model/checkpoint.ts';
import { generate, openDecoder } from '../../model/quasar-long/generate.ts';
import { UsageError } from '../../util/errors.ts';
import { openTokenizer } from '../checkpoint-tokenizer.ts';
import type { Handler } from '../command.ts';
import { parseGenerateOptions } from './options.ts';

export const handle: Handler = async (settings, io) => {
  const options = parseGenerateOptions(settings);
  const isJson = settings.switch('json');
  const { config, params } = await loadCheckpoint(options.checkpoint);
  const tokenizer = await openTokenizer(options.checkpoint, config.vocab_size);
  const decoder = await openDecoder(config, params, { threads: options.threads, device: options.device });
  try {
    const text = options.prompt === '-' ? await readInput() : options.prompt;
    const prompt = tokenizer.encode(text);
    const stream = new TextStream({ decode: (ids) => tokenizer.decode(ids), stops: options.stops });
    const write = (part: string) => (isJson ? undefined : io.write(part));
    write(text);
    await decoder.prepare(prompt.length);
    const startedAt = performance.now();
    let promptMs = 0;
    let tokens = 0;
    const onPrompt = () => void (promptMs = performance.now() - startedAt);
    for await (const id of generate(decoder, prompt, { ...options, signal: io.stop, onPrompt })) {
      tokens++;
      write(stream.push(id));
      if (stream.isStopped) break;
    }
    write(`${stream.end()}\n`);
    const decodeMs = performance.now() - startedAt - promptMs;
    const speed = {
      promptTokensPerSecond: (prompt.length / promptMs) * 1000,
      // The first token falls out of reading the prompt.
      tokensPerSecond: (Math.max(0, tokens - 1) / decodeMs) * 1000,
    };
    if (isJson)
      io.out(JSON.stringify({ prompt: text, text: stream.text, promptTokens: prompt.length, tokens, ...speed }));
    else
      io.err(
        `prompt: ${prompt.length} tokens, ${speed.promptTokensPerSecond.toFixed(1)} a second; ` +
          `continuation: ${tokens} tokens, ${speed.tokensPerSecond.toFixed(1)} a second`,
      );
    return 0;
  } finally {
    await decoder.release();
  }
};

const maxInputBytes = 1 << 26;

async function readInput(): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin) {
    chunks.push(chunk as Buffer);
    size += (chunk as Buffer).length;
    if (size > maxInputBytes) throw new UsageError(`--prompt -: more than ${maxInputBytes} bytes on standard input`);
  }
  return Buffer.concat(chunks).toString('utf8');
}
