/** @file Each filter on a text that it keeps and on texts that it drops. */
import { describe, expect, it } from 'vitest';
import { buildFilters, parseFilters } from './filters.ts';
import { textOf } from './test-support.ts';
import { WordCutter } from './words.ts';

const cutter = new WordCutter();
async function reasons(spec: string, text: string, language: string | null = null): Promise<string[]> {
  const filters = await buildFilters(parseFilters(spec));
  return filters.flatMap(({ filter }) => filter({ text, language, words: cutter.cut(text) }) ?? []);
}

const prose =
  'The committee met on the first day of the month and discussed what had been done with the money that the town gave. ' +
  'Nobody had expected that the bridge would be finished before winter, yet there it stood, and people walked over it. ' +
  'To be honest, said the mayor, I have never seen so many lanterns in one street; they will be lit again next year.\n\n' +
  'A letter arrived from the capital some weeks later, in which the minister praised the builders and their families.';

describe('filters', () => {
  it('keep prose', async () => {
    expect(await reasons('length,symbols,repetition,stop-words,language:any=en', prose)).toEqual([]);
  });

  it('drop what breaks a rule, with the rule', async () => {
    const cases: readonly (readonly [string, string, string])[] = [
      ['length', 'few words', 'too-few-words'],
      ['length:max=10', prose, 'too-many-words'],
      ['length', 'a b c '.repeat(30), 'words-too-short'],
      ['length', `${'x'.repeat(40)} `.repeat(60), 'words-too-long'],
      ['symbols', `${'word # '.repeat(30)}`, 'too-many-symbols'],
      ['symbols', `${'word word word word … '.repeat(30)}`, 'too-many-symbols'],
      ['symbols', '- one point here\n- another one\n- and a third one', 'mostly-bullets'],
      [
        'symbols',
        'this goes on and on and on and on and on...\nand so does this one here as you can see...',
        'mostly-ellipses',
      ],
      ['symbols', '12 34 56 78 90 words', 'too-few-letters'],
      ['symbols', `text ${'\ufffd'.repeat(5)} text and more text of this kind`, 'damaged-characters'],
      ['repetition', 'the same line\n'.repeat(10), 'repeated-lines'],
      ['repetition', `${textOf(1, 300)} ${'buy it now '.repeat(60)}`, 'one-phrase-repeats'],
      ['repetition', `${textOf(2, 100)}. ${textOf(3, 60)}. ${textOf(2, 100)}`, 'phrases-repeat'],
      ['stop-words', textOf(4, 50), 'no-stop-words'],
      ['language:any=de+fr', prose, 'other-language'],
    ];
    for (const [spec, text, reason] of cases)
      expect(await reasons(spec, text), `${spec}: ${text.slice(0, 30)}`).toEqual([reason]);
  });

  it('take a declared language before a detected one', async () => {
    const german =
      'Der Ausschuss traf sich am ersten Tag des Monats und sprach darüber, was mit dem Geld geschehen war.';
    expect(await reasons('language:any=de', german)).toEqual([]);
    expect(await reasons('language:any=en', german)).toEqual(['other-language']);
    expect(await reasons('language:any=en', german, 'en-GB')).toEqual([]);
  });

  it('say what cannot be', async () => {
    await expect(reasons('length:min=abc', prose)).rejects.toThrow(/number/);
    await expect(reasons('language', prose)).rejects.toThrow(/name the languages/);
    expect(() => parseFilters('length:min')).toThrow(/NAME=VALUE/);
    expect(parseFilters('none')).toEqual([]);
  });
});
