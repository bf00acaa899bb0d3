/** @file Does `accrete generate`: the prompt and its continuation on standard output, as it comes. */
import { loadCheckpoint } from '../../model/checkpoint.ts';
import { generate, openDecoder } from '../../model/quasar-long/generate.ts';
import { openTokenizer } from '../checkpoint-tokenizer.ts';
import type { Handler } from '../command.ts';
import { parseGenerateOptions } from './options.ts';

export const handle: Handler = async (settings, io) => {
  const options = parseGenerateOptions(settings);
  const isJson = settings.switch('json');
  const { config, params } = await loadCheckpoint(options.checkpoint);
  const tokenizer = await openTokenizer(options.checkpoint, config.vocab_size);
  const decoder = await openDecoder(config, params, { threads: options.threads });
  try {
    const prompt = tokenizer.encode(options.prompt);
    const ids: number[] = [];
    const startedAt = performance.now();
    let written = '';
    if (!isJson) io.write(options.prompt);
    for await (const id of generate(decoder, prompt, { ...options, signal: io.stop })) {
      ids.push(id);
      // A character may be spread over several tokens: what ends in the middle of one waits.
      const text = tokenizer.decode(ids).replace(/\uFFFD+$/, '');
      if (!isJson && text.startsWith(written)) {
        io.write(text.slice(written.length));
        written = text;
      }
    }
    const text = tokenizer.decode(ids);
    const tokensPerSecond = (ids.length / (performance.now() - startedAt)) * 1000;
    if (isJson) io.out(JSON.stringify({ prompt: options.prompt, text, tokens: ids.length, tokensPerSecond }));
    else {
      io.write(`${text.slice(written.length)}\n`);
      io.err(`${ids.length} tokens, ${tokensPerSecond.toFixed(1)} a second`);
    }
    return 0;
  } finally {
    await decoder.release();
  }
};
