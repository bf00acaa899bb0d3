/** @file The tokenizer beside a checkpoint's weights, refused where the model lacks rows for its tokens. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Tokenizer } from '../data/tokenizer.ts';
import { BaseError } from '../util/errors.ts';

export class CheckpointTokenizerError extends BaseError<'NO_TOKENIZER' | 'WRONG_TOKENIZER'> {}

/** The texts of tokenizer.json and tokenizer_config.json of `folder`. @throws CheckpointTokenizerError NO_TOKENIZER */
export async function readTokenizerFiles(folder: string): Promise<{ readonly json: string; readonly config: string }> {
  const read = async (name: string): Promise<string> =>
    await readFile(join(folder, name), 'utf8').catch((cause) => {
      const sentence = `${join(folder, name)} cannot be read; a checkpoint of accrete holds tokenizer.json and tokenizer_config.json`;
      throw new CheckpointTokenizerError('NO_TOKENIZER', sentence, { cause });
    });
  return { json: await read('tokenizer.json'), config: await read('tokenizer_config.json') };
}

/** The tokenizer of `folder`. `vocabSize`: the model's. @throws CheckpointTokenizerError */
export const openTokenizer = async (folder: string, vocabSize: number): Promise<Tokenizer> =>
  tokenizerOf(await readTokenizerFiles(folder), vocabSize, folder);

/** `place`: where the texts are from. @throws CheckpointTokenizerError WRONG_TOKENIZER */
export function tokenizerOf(
  { json, config }: { readonly json: string; readonly config: string },
  vocabSize: number,
  place: string,
): Tokenizer {
  const tokenizer = new Tokenizer(json, config);
  if (tokenizer.vocabSize <= vocabSize) return tokenizer;
  throw new CheckpointTokenizerError(
    'WRONG_TOKENIZER',
    `${place}: tokenizer.json has ${tokenizer.vocabSize} tokens, but vocab_size is ${vocabSize}; they do not belong together`,
  );
}
