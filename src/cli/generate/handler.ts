/** @file Does `accrete generate`: the prompt and its continuation on standard output, as it comes. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Tokenizer } from '../../data/tokenizer.ts';
import { loadCheckpoint } from '../../model/checkpoint.ts';
import { generate, openDecoder } from '../../model/quasar-long/generate.ts';
import { BaseError } from '../../util/errors.ts';
import type { Handler } from '../command.ts';
import { parseGenerateOptions } from './options.ts';

export class GenerateError extends BaseError<'NO_TOKENIZER' | 'WRONG_TOKENIZER'> {}

export const handle: Handler = async (settings, io) => {
  const options = parseGenerateOptions(settings);
  const isJson = settings.switch('json');
  const { config, params } = await loadCheckpoint(options.checkpoint);
  const tokenizer = await loadTokenizer(options.checkpoint, config.vocab_size);
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

async function loadTokenizer(folder: string, vocabSize: number): Promise<Tokenizer> {
  const read = async (name: string): Promise<string> =>
    await readFile(join(folder, name), 'utf8').catch((cause) => {
      const sentence = `${join(folder, name)} cannot be read; a checkpoint of accrete holds tokenizer.json and tokenizer_config.json`;
      throw new GenerateError('NO_TOKENIZER', sentence, { cause });
    });
  const tokenizer = new Tokenizer(await read('tokenizer.json'), await read('tokenizer_config.json'));
  if (tokenizer.vocabSize > vocabSize) {
    throw new GenerateError(
      'WRONG_TOKENIZER',
      `${folder}: tokenizer.json has ${tokenizer.vocabSize} tokens, the model only ${vocabSize}; they do not belong together`,
    );
  }
  return tokenizer;
}
