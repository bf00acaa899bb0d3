/** @file Each form of package file, on a few lines of the real thing. */
import { describe, expect, it } from 'vitest';
import {
  brownDocument,
  factbookDocument,
  normalizeText,
  squeezeSpaces,
  unwrapParagraphs,
  wordnetDocuments,
} from './clean-text.ts';

describe('normalizeText', () => {
  it('leaves no control character but the line feed, no blank runs, no spaces at line ends', () => {
    expect(normalizeText('\ufeffa\r\nb\t \n\n\n\n c\u0000\u0085d\u00a0\f ')).toBe('a\nb\n\n c\nd');
  });
});

describe('unwrapParagraphs and squeezeSpaces', () => {
  it('join the lines of a paragraph and keep paragraphs apart', () => {
    expect(unwrapParagraphs('CHAPTER 1.\n\nCall me\nIshmael. Some\n years ago\n\n\nThen')).toBe(
      'CHAPTER 1.\n\nCall me Ishmael. Some years ago\n\nThen',
    );
    expect(squeezeSpaces('Fellow-Citizens  of   the')).toBe('Fellow-Citizens of the');
  });
});

describe('wordnetDocuments', () => {
  const file = [
    '  1 This software and database is being provided to you',
    '00001740 03 n 01 entity 0 003 ~ 00001930 n 0000 | that which is perceived  ',
    '00002137 03 n 02 abstraction 0 abstract_entity 0 001 @ 00001740 n 0000 | a general concept; "a | b"  ',
    '00001740 00 a 01 able(p) 0 001 = 05207437 n 0000 | having the means  ',
    '',
  ].join('\n');

  it('writes one meaning a line and begins a document with each topic', () => {
    expect(wordnetDocuments(file, 50)).toEqual([
      'entity: that which is perceived\nabstraction, abstract entity: a general concept; "a | b"',
      'able: having the means',
    ]);
    expect(wordnetDocuments(file, 1).length).toBe(3);
  });
});

describe('factbookDocument', () => {
  it('writes sections, fields and parts, and drops what is empty', () => {
    const profile = {
      Introduction: { Background: { text: 'Montevideo,  founded by the Spanish' } },
      Geography: { Area: { total: { text: '176,215 sq km' }, water: { text: '1,200 sq km' } }, Empty: { text: '' } },
      Nothing: {},
    };
    expect(factbookDocument(profile)).toBe(
      'Introduction\nBackground: Montevideo, founded by the Spanish\n\nGeography\nArea: total: 176,215 sq km; water: 1,200 sq km',
    );
    expect(factbookDocument([1])).toBe('');
  });
});

describe('brownDocument', () => {
  it('takes tags away and gives quotation marks and spacing back', () => {
    const file =
      "\n\n\tThe/at jury/nn said/vbd ``/`` no/at evidence/nn ''/'' that/cs 1/2/cd (/( perhaps/rb )/) ,/, took/vbd place/nn ./.\n\n\n" +
      "\tIt/pps is/bez Fulton's/np$ ;/; ;/; end/nn ./.\nNext/ap ?/. ?/.\n";
    expect(brownDocument(file)).toBe(
      'The jury said "no evidence" that 1/2 (perhaps), took place.\n\nIt is Fulton\'s; end. Next?',
    );
  });
});
