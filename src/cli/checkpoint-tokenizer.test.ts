/** @file A checkpoint's tokenizer must be there and fit the model's vocabulary. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { trainBpe } from '../data/bpe-trainer.ts';
import { tokenizerConfigJson, tokenizerJson } from '../data/tokenizer-files.ts';
import { openTokenizer } from './checkpoint-tokenizer.ts';

it('opens a tokenizer that fits, refuses one that is absent or larger than the vocabulary', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'accrete-tokenizer-'));
  try {
    await expect(openTokenizer(folder, 1000)).rejects.toMatchObject({ code: 'NO_TOKENIZER' });
    const vocabulary = trainBpe(['abab', 'abc'], [9, 5], { tokenCount: 258 });
    await writeFile(join(folder, 'tokenizer.json'), JSON.stringify(tokenizerJson(vocabulary)));
    await writeFile(join(folder, 'tokenizer_config.json'), JSON.stringify(tokenizerConfigJson()));
    const { vocabSize } = await openTokenizer(folder, 1000);
    expect((await openTokenizer(folder, vocabSize)).vocabSize).toBe(vocabSize);
    await expect(openTokenizer(folder, vocabSize - 1)).rejects.toMatchObject({
      code: 'WRONG_TOKENIZER',
      message: expect.stringContaining('vocab_size'),
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
