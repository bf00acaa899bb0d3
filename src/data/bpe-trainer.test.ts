/** @file The trainer against Hugging Face's own (npm `tokenizers`), and both libraries' ids for the same text. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BPE, byteLevelAlphabet, byteLevelPreTokenizer, Tokenizer as RustTokenizer } from 'tokenizers';
import { describe, expect, it } from 'vitest';
import { Rng } from '../util/rng.ts';
import { trainBpe } from './bpe-trainer.ts';
import { byteAlphabet, WordTable } from './pre-tokenizer.ts';
import { Tokenizer } from './tokenizer.ts';
import { SPECIAL_TOKENS, tokenizerConfigJson, tokenizerJson } from './tokenizer-files.ts';

/** Words by a made-up grammar, so that the test needs no corpus: skewed frequencies, punctuation, digits, accents. */
function sampleText(wordCount: number): string {
  const rng = new Rng('bpe sample');
  const syllables = ['ba', 'ten', 'or', 'é', 'shi', 'mu', 'the', 'in', 'ation', 'ça', 'qu', 'x', 'aa', '日', 'l'];
  const lexicon = Array.from({ length: 800 }, () =>
    Array.from({ length: 1 + rng.below(4) }, () => syllables[rng.below(syllables.length)]).join(''),
  );
  const out: string[] = [];
  for (let i = 0; i < wordCount; i++) {
    const word = lexicon[Math.floor(lexicon.length * rng.uniform() ** 3)]!;
    out.push(word + (rng.below(9) === 0 ? [', ', '. ', "'s ", '\n\n', ' (12) ', '  — '][rng.below(6)] : ' '));
  }
  return out.join('');
}

function countWords(text: string): { words: string[]; counts: number[] } {
  const table = new WordTable();
  const counts: number[] = [];
  for (const index of table.add(text)) counts[index] = (counts[index] ?? 0) + 1;
  return { words: table.words, counts };
}

const text = sampleText(20_000);
const { words, counts } = countWords(text);

describe('trainBpe', () => {
  it('finds the merges of npm tokenizers, in their order', () => {
    const dir = mkdtempSync(join(tmpdir(), 'bpe-'));
    try {
      const file = join(dir, 'text.txt');
      writeFileSync(file, text);
      const rust = new RustTokenizer(BPE.empty());
      rust.setPreTokenizer(byteLevelPreTokenizer(false, true));
      rust.train([file]);
      const saved = join(dir, 'tokenizer.json');
      rust.save(saved);
      const vocab = rust.getVocab();
      const theirs = Object.entries(vocab).sort((a, b) => a[1] - b[1]);
      const ours = trainBpe(words, counts, { tokenCount: 1024 });
      const alphabetSize = theirs.findIndex(([token]) => [...token].length > 1);
      // Their ids after the alphabet are in rank order.
      const merged = theirs.slice(alphabetSize, alphabetSize + 1024 - 256).map(([token]) => token);
      expect(ours.tokens.slice(256)).toEqual(merged);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  it('does the same whatever the order of the words, and stops where no pair is left', () => {
    const forward = trainBpe(words, counts, { tokenCount: 600 });
    const backward = trainBpe([...words].reverse(), [...counts].reverse(), { tokenCount: 600 });
    expect(backward.tokens).toEqual(forward.tokens);
    expect(backward.merges).toEqual(forward.merges);
    const small = trainBpe(['ab', 'aaaa'], [4, 1], { tokenCount: 4096 });
    expect(small.merges).toEqual([
      ['a', 'b'],
      ['a', 'a'],
      ['aa', 'aa'],
    ]);
    expect(() => trainBpe(['a'], [1], { tokenCount: 255 })).toThrow(/256/);
  });

  it('has the alphabet of Hugging Face', () => {
    expect([...byteAlphabet].sort()).toEqual([...byteLevelAlphabet()].sort());
  });
});

describe('Tokenizer', () => {
  const vocabulary = trainBpe(words, counts, { tokenCount: 766 });
  const json = JSON.stringify(tokenizerJson(vocabulary));
  const tokenizer = new Tokenizer(json, JSON.stringify(tokenizerConfigJson()));
  const samples = [
    'the baten\n\n  ation',
    'Not in the sample: "Zürich", 1848 — naïve?',
    "it's we'll  don't \t tab\r\n",
    '日本語 🙂 \u0000\u00a0',
    'func(x) { return x**2; }  ',
    text.slice(0, 3000),
    '',
  ];

  it('gives the ids of npm tokenizers, and the text back', async () => {
    const rust = RustTokenizer.fromString(json);
    for (const sample of samples) {
      const expected = (await rust.encode(sample, null, { addSpecialTokens: false })).getIds();
      expect(tokenizer.encode(sample), sample).toEqual(expected);
      expect(tokenizer.encodePlain(sample), sample).toEqual(expected);
      expect(tokenizer.decode(expected), sample).toBe(sample);
    }
  });

  it('cuts every word as the trainer did, those of count 0 too', () => {
    const known = Math.floor(words.length / 2);
    const partial = trainBpe(
      words,
      counts.map((count, i) => (i < known ? count : 0)),
      { tokenCount: 500 },
    );
    const half = new Tokenizer(JSON.stringify(tokenizerJson(partial)), JSON.stringify(tokenizerConfigJson()));
    for (const [i, word] of words.entries()) {
      expect(half.encode(word), word).toEqual(Array.from(partial.pieces[i]!, (piece) => piece + SPECIAL_TOKENS.length));
    }
  });

  it('knows its special tokens: the first two ids, end of text also pads', () => {
    expect(tokenizer.vocabSize).toBe(768);
    expect([tokenizer.startOfText, tokenizer.endOfText]).toEqual([1, 0]);
    expect(tokenizer.encode(`the${SPECIAL_TOKENS[0]}`)).toEqual([...tokenizer.encode('the'), 0]);
    expect(tokenizer.decode([0])).toBe('');
    expect(tokenizer.decode([0], { keepSpecial: true })).toBe(SPECIAL_TOKENS[0]);
  });

  it('refuses other files by name', () => {
    const config = JSON.stringify(tokenizerConfigJson());
    expect(() => new Tokenizer('{', config)).toThrow(/tokenizer\.json: expected JSON/);
    expect(() => new Tokenizer('{"model":{"type":"WordPiece"}}', config)).toThrow(/tokenizer\.json/);
    expect(() => new Tokenizer(json, '{"eos_token":"<none>"}')).toThrow(/<none>/);
  });
});
