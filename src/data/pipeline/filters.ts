/**
 * @file Filters of documents, by name: each is pure and says why it drops one. The rules and their bounds are Gopher's
 * (Rae et al., arXiv:2112.11446, appendix A.1); each bound can be set. Others plug in as a `FilterFactory`.
 */
import { DataError } from '../errors.ts';
import { characterRuns, duplicateShares, topRunShares } from './repetition.ts';
import type { Words } from './words.ts';

export interface FilteredDocument {
  readonly text: string;
  readonly words: Words;
  /** As its source declares it; null: it does not. */
  readonly language: string | null;
}

/** Why the document is dropped, as a short name (`too-few-words`); null: it is kept. */
export type DocumentFilter = (document: FilteredDocument) => string | null;

/** Bounds by their names, as text; what it does not know is the operator's mistake. */
export interface FilterFactory {
  /** Bounds and their defaults. */
  readonly bounds: Readonly<Record<string, string>>;
  build(bounds: Readonly<Record<string, string>>): DocumentFilter | Promise<DocumentFilter>;
}

/** `length:min=50:max=100000`, parsed. */
export interface FilterSpec {
  readonly name: string;
  readonly bounds: Readonly<Record<string, string>>;
}

const numberIn = (bounds: Readonly<Record<string, string>>, name: string): number => {
  const value = Number(bounds[name]);
  if (bounds[name]!.trim() === '' || !Number.isFinite(value) || value < 0)
    throw new DataError('BAD_SOURCE', `filter: expected a number of 0 or more for ${name}, got '${bounds[name]}'`);
  return value;
};

const length: FilterFactory = {
  bounds: { min: '50', max: '100000', 'mean-min': '3', 'mean-max': '10' },
  build(bounds) {
    const [min, max] = [numberIn(bounds, 'min'), numberIn(bounds, 'max')];
    const [meanMin, meanMax] = [numberIn(bounds, 'mean-min'), numberIn(bounds, 'mean-max')];
    return ({ words: { count, lengths } }) => {
      if (count < min) return 'too-few-words';
      if (count > max) return 'too-many-words';
      let letters = 0;
      for (let i = 0; i < count; i++) letters += lengths[i]!;
      const mean = letters / Math.max(1, count);
      if (mean < meanMin) return 'words-too-short';
      return mean > meanMax ? 'words-too-long' : null;
    };
  },
};

const symbols: FilterFactory = {
  bounds: { ratio: '0.1', bullets: '0.9', ellipses: '0.3', letters: '0.8', damaged: '0.001' },
  build(bounds) {
    const [ratio, letters, damaged] = ['ratio', 'letters', 'damaged'].map((name) => numberIn(bounds, name));
    const [bullets, ellipses] = ['bullets', 'ellipses'].map((name) => numberIn(bounds, name));
    return ({ text, words }) => {
      const signs = signsOf(text);
      if (signs.replaced > damaged! * text.length) return 'damaged-characters';
      const count = Math.max(1, words.count);
      if (signs.hashes > ratio! * count || signs.ellipses > ratio! * count) return 'too-many-symbols';
      const lines = text.split('\n').filter((line) => line.trim() !== '');
      const share = (pattern: RegExp): number =>
        lines.filter((line) => pattern.test(line)).length / Math.max(1, lines.length);
      if (share(/^\s*[-*•‣◦]\s/) > bullets!) return 'mostly-bullets';
      if (share(/(\.\.\.|…)\s*$/) > ellipses!) return 'mostly-ellipses';
      return signs.wordsWithLetter < letters! * signs.words ? 'too-few-letters' : null;
    };
  },
};

interface Signs {
  hashes: number;
  ellipses: number;
  /** U+FFFD and control characters: a wrong encoding, or no text. */
  replaced: number;
  /** What spaces part, and how many of it have a letter. */
  words: number;
  wordsWithLetter: number;
}

const isLetter = /\p{L}/u;

function signsOf(text: string): Signs {
  const signs: Signs = { hashes: 0, ellipses: 0, replaced: 0, words: 0, wordsWithLetter: 0 };
  let inWord = false;
  let hasLetter = false;
  const close = (): void => {
    if (inWord) signs.words++;
    if (hasLetter) signs.wordsWithLetter++;
    [inWord, hasLetter] = [false, false];
  };
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit <= 0x20 || unit === 0xa0 || unit === 0x3000) {
      if (unit < 0x20 && unit !== 0x0a && unit !== 0x09 && unit !== 0x0d) signs.replaced++;
      close();
      continue;
    }
    inWord = true;
    const lower = unit | 0x20;
    if (lower >= 0x61 && lower <= 0x7a) hasLetter = true;
    else if (unit === 0x23) signs.hashes++;
    else if (unit === 0x2026 || (unit === 0x2e && text.startsWith('...', i) && text[i - 1] !== '.')) signs.ellipses++;
    else if (unit === 0xfffd) signs.replaced++;
    else if (!hasLetter && unit >= 0x80) hasLetter = (unit >= 0xd800 && unit <= 0xdfff) || isLetter.test(text[i]!);
  }
  close();
  return signs;
}

const repetition: FilterFactory = {
  bounds: { lines: '0.3', 'line-characters': '0.2', paragraphs: '0.3', 'paragraph-characters': '0.2', scale: '1' },
  build(bounds) {
    const of = (name: string): number => numberIn(bounds, name);
    const limits = { count: of('lines'), characters: of('line-characters') };
    const paragraphs = { count: of('paragraphs'), characters: of('paragraph-characters') };
    const scale = of('scale');
    return ({ text, words }) => {
      const byLine = duplicateShares(text, /\n+/);
      if (byLine.count > limits.count || byLine.characters > limits.characters) return 'repeated-lines';
      const byParagraph = duplicateShares(text, /\n{2,}/);
      if (byParagraph.count > paragraphs.count || byParagraph.characters > paragraphs.characters)
        return 'repeated-paragraphs';
      if (topRunShares(words).some((share, i) => share > scale * topRunBounds[i]!)) return 'one-phrase-repeats';
      return characterRuns(words, duplicateRunBounds, scale) ? 'phrases-repeat' : null;
    };
  },
};

/** Share of the characters in the most frequent run of 2, 3 and 4 words. */
const topRunBounds = [0.2, 0.18, 0.16];
/** Share of the characters in runs of 5 to 10 words that occur more than once. */
const duplicateRunBounds = [0.15, 0.14, 0.13, 0.12, 0.11, 0.1];

const stopWords: FilterFactory = {
  bounds: { min: '2' },
  build(bounds) {
    const min = numberIn(bounds, 'min');
    const pattern = /\b(the|be|to|of|and|that|have|with)\b/gi;
    return ({ text }) => {
      const found = new Set<string>();
      for (const [word] of text.matchAll(pattern)) {
        found.add(word.toLowerCase());
        if (found.size >= min) return null;
      }
      return 'no-stop-words';
    };
  },
};

const language: FilterFactory = {
  bounds: { any: '' },
  async build({ any }) {
    const wanted = new Set(any!.split('+').filter((code) => code !== ''));
    if (wanted.size === 0)
      throw new DataError('BAD_SOURCE', 'filter language: name the languages to keep, e.g. language:any=en+de');
    const { detectLanguage } = await import('./language.ts');
    return ({ text, language: declared }) => {
      const found = declared ?? detectLanguage(text);
      return found !== null && wanted.has(found.toLowerCase().split(/[-_]/)[0]!) ? null : 'other-language';
    };
  },
};

export const builtInFilters: Readonly<Record<string, FilterFactory>> = {
  length,
  symbols,
  repetition,
  'stop-words': stopWords,
  language,
};

export const defaultFilters = 'length,symbols,repetition';

/** `length:min=20,symbols` to specs; `none`: no filter. @throws DataError BAD_SOURCE */
export function parseFilters(text: string): readonly FilterSpec[] {
  if (text.trim() === 'none') return [];
  return text.split(',').map((part) => {
    const [name = '', ...settings] = part.trim().split(':');
    const bounds = Object.fromEntries(
      settings.map((setting) => {
        const at = setting.indexOf('=');
        if (at < 1) throw new DataError('BAD_SOURCE', `filter ${name}: expected NAME=VALUE, got '${setting}'`);
        return [setting.slice(0, at), setting.slice(at + 1)];
      }),
    );
    return { name, bounds };
  });
}

/** @throws DataError BAD_SOURCE for a filter or a bound that is not known */
export async function buildFilters(
  specs: readonly FilterSpec[],
  more: Readonly<Record<string, FilterFactory>> = {},
): Promise<readonly { readonly name: string; readonly filter: DocumentFilter }[]> {
  const known = { ...builtInFilters, ...more };
  return await Promise.all(
    specs.map(async ({ name, bounds }) => {
      const factory = Object.hasOwn(known, name) ? known[name] : undefined;
      if (factory === undefined)
        throw new DataError('BAD_SOURCE', `no filter '${name}'; expected some of ${Object.keys(known).join(', ')}`);
      const unknown = Object.keys(bounds).find((bound) => !Object.hasOwn(factory.bounds, bound));
      if (unknown !== undefined)
        throw new DataError(
          'BAD_SOURCE',
          `filter ${name} has no bound '${unknown}'; expected some of ${Object.keys(factory.bounds).join(', ')}`,
        );
      return { name, filter: await factory.build({ ...factory.bounds, ...bounds }) };
    }),
  );
}
