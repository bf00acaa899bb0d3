/** @file The tokenizer for corpora gives what the slow one gives, on prose and on text made to break it. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { trainBpe } from './bpe-trainer.ts';
import { FastTokenizer } from './fast-tokenizer.ts';
import { IdBuffer } from './pipeline/chunk.ts';
import { WordTable, wordPattern } from './pre-tokenizer.ts';
import { Tokenizer } from './tokenizer.ts';
import { SPECIAL_TOKENS, tokenizerConfigJson, tokenizerJson } from './tokenizer-files.ts';

const prose = readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8');

function trained(change: (file: Record<string, unknown>) => void = () => {}): { slow: Tokenizer; fast: FastTokenizer } {
  const table = new WordTable();
  const counts = new Uint32Array(1 << 16);
  for (const word of table.add(prose)) counts[word]!++;
  const vocabulary = trainBpe(table.words, counts.subarray(0, table.words.length), {
    tokenCount: 1200 - SPECIAL_TOKENS.length,
  });
  const file = structuredClone(tokenizerJson(vocabulary)) as { model: Record<string, unknown> };
  change(file.model);
  const json = JSON.stringify(file);
  return { slow: new Tokenizer(json, JSON.stringify(tokenizerConfigJson())), fast: new FastTokenizer(json) };
}

const { slow, fast } = trained();

function encode(text: string, tokenizer = fast): number[] {
  const ids = new IdBuffer(tokenizer.vocabSize, 4);
  tokenizer.encodeInto(text, ids);
  return [...ids.finish()];
}

describe('FastTokenizer', () => {
  it('cuts and merges prose as the library does, the first and the second time', () => {
    const expected = slow.encodePlain(prose);
    expect(encode(prose)).toEqual(expected);
    expect(encode(prose)).toEqual(expected);
  });

  it('does so for any text', () => {
    const bits = fc.constantFrom(
      ...[
        "'s",
        "'ll",
        "'",
        "''",
        " '",
        'a',
        'B',
        '7',
        '½',
        ' ',
        '  ',
        '\n',
        '\t',
        '\r\n',
        '\u00a0',
        '\u3000',
        '\ufeff',
      ],
      ...[
        'é',
        'ß',
        '漢字',
        'かな',
        '\u{1F600}',
        '\u{20000}',
        '\u{1D7D8}',
        '\ud800',
        '\udc00',
        '<|endoftext|>',
        '-',
        '…',
        '\0',
        '#',
      ],
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(bits, fc.string({ unit: 'binary', maxLength: 6 })), { maxLength: 40 }), (parts) => {
        // Lone surrogates become U+FFFD in both: as UTF-8 they have no other form.
        const text = parts.join('');
        expect(encode(text), JSON.stringify(text)).toEqual(slow.encodePlain(text));
      }),
      { seed: 11, numRuns: 1500 },
    );
  });

  it('merges long words without spaces in the same order', () => {
    const letters = prose.replace(/[^a-z]/g, '');
    for (const length of [48, 49, 64, 65, 66, 500, 4000]) {
      const text = letters.slice(0, length);
      expect(encode(text), `${length} letters`).toEqual(slow.encodePlain(text));
    }
    expect(encode('a'.repeat(300))).toEqual(slow.encodePlain('a'.repeat(300)));
  });

  it('keeps on being right when its table is full and is emptied', () => {
    const sample = prose.slice(0, 2000);
    const expected = slow.encodePlain(sample);
    const many = Array.from(
      { length: 270_000 },
      (_, i) => ` ${i.toString(26).replace(/\d/g, (d) => 'qrstuvwxyz'[Number(d)]!)}`,
    );
    encode(many.join(''));
    expect(encode(sample)).toEqual(expected);
  });

  it('takes whole words first where the file says so', () => {
    const { slow: library, fast: own } = trained((model) => {
      model.ignore_merges = true;
    });
    const words = [...prose.matchAll(wordPattern())].slice(0, 400).map(([word]) => word);
    for (const word of words) expect(encode(word, own), word).toEqual(library.encodePlain(word));
  });

  it('refuses a vocabulary without a byte', () => {
    expect(() =>
      trained((model) => {
        delete (model.vocab as Record<string, number>).A;
      }),
    ).toThrow(/byte/);
  });
});
