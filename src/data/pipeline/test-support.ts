/** @file What the tests of the pipeline share: documents of words, a small tokenizer, options. */
import { Rng } from '../../util/rng.ts';
import { type BpeVocabulary, trainBpe } from '../bpe-trainer.ts';
import { WordTable } from '../pre-tokenizer.ts';
import { SPECIAL_TOKENS, tokenizerConfigJson, tokenizerJson } from '../tokenizer-files.ts';
import { parseFilters } from './filters.ts';
import type { PrepareDataOptions } from './prepare.ts';
import { type Source, sourceSchema } from './sources.ts';

const syllables = ['ka', 'lo', 'mi', 'ne', 'ru', 'sa', 'te', 'vo', 'shi', 'dar', 'pen', 'gul'];

/** `count` words, other ones for another seed. */
export function wordsOf(seed: number | string, count: number): string[] {
  const rng = new Rng(seed);
  const syllable = (): string => syllables[rng.below(syllables.length)]!;
  return Array.from({ length: count }, () => Array.from({ length: 1 + rng.below(3) }, syllable).join(''));
}

export const textOf = (seed: number | string, count: number): string => wordsOf(seed, count).join(' ');

let trained: PrepareDataOptions['tokenizer'] | null = null;

/** Trained once. */
export function smallTokenizer(): PrepareDataOptions['tokenizer'] {
  trained ??= trainTokenizer();
  return trained;
}

function trainTokenizer(): PrepareDataOptions['tokenizer'] {
  const table = new WordTable();
  const counts = new Uint32Array(1 << 16);
  for (const word of table.add(textOf('tokenizer', 4000))) counts[word]!++;
  const vocabulary: BpeVocabulary = trainBpe(table.words, counts.subarray(0, table.words.length), {
    tokenCount: 400 - SPECIAL_TOKENS.length,
  });
  return { json: JSON.stringify(tokenizerJson(vocabulary)), config: JSON.stringify(tokenizerConfigJson()) };
}

export const sourceOf = (fields: Partial<Source> & Pick<Source, 'name' | 'inputs'>): Source =>
  sourceSchema.parse({
    ...{
      from: fields.name,
      format: 'jsonl',
      unit: 'file',
      textField: 'text',
      stage: 'train',
      heldOutEvery: 0,
      share: 1,
    },
    ...{ about: '', ...(fields.licenceField === undefined ? { licence: 'CC0-1.0' } : {}) },
    ...fields,
  });

/** On one thread, which takes most of a second to begin: who tests threads asks for two. */
export function prepareOptions(
  dir: string,
  sources: readonly Source[],
  more: Partial<PrepareDataOptions> = {},
): PrepareDataOptions {
  const filterText = more.filterText ?? 'none';
  return {
    ...{ dir, sources, tokenizer: smallTokenizer(), filters: parseFilters(filterText), filterText, filterModule: null },
    ...{
      grams: null,
      dropsNearCopies: true,
      forgetsOldest: false,
      shardTokens: 4096,
      threads: 1,
      maxDocumentBytes: 1 << 20,
    },
    ...{ maxFileBytes: 1 << 30, maxHashBytes: 64 << 20, skipBad: false, keepsWork: true },
    ...{ hub: { endpoint: 'http://127.0.0.1:1', token: null }, fetch, signal: new AbortController().signal },
    ...{ clock: { sleep: async () => {} }, say: () => {} },
    ...more,
  };
}
