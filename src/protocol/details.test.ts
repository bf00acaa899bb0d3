/** @file Details read back as they were written; other bytes are none. */
import { expect, it } from 'vitest';
import { utf8 } from '../util/bytes.ts';
import { encodeDetails, maxDetailsBytes, parseDetails, type VerdictDetails } from './details.ts';
import { hashOfText } from './hash.ts';
import type { Decimal, Hotkey } from './names.ts';

const details: VerdictDetails = {
  version: 1,
  claim: hashOfText('claim'),
  validator: '5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY' as Hotkey,
  heads: [hashOfText('head')],
  positions: [4, 9],
  lossesBefore: ['5.25', '6'] as Decimal[],
  lossesAfter: ['5', '1000000000'] as Decimal[],
};

it('are read back', () => {
  expect(parseDetails(encodeDetails(details))).toEqual(details);
});

it('of another form, text or size are none', () => {
  const text = Buffer.from(encodeDetails(details)).toString();
  const bad: readonly Uint8Array[] = [
    utf8(''),
    utf8(' '.repeat(maxDetailsBytes + 1)),
    Uint8Array.of(0xff, 0xfe),
    utf8(`${text} `),
    utf8(text.replace('"version":1', '"version":2')),
    utf8(text.replace('[4,9]', '[4]')),
    utf8(text.replace('[4,9]', '[4,9.5]')),
    utf8(text.replace('{', '{"more":1,')),
    utf8(text.replace('"5.25"', '"NaN"')),
    utf8(JSON.stringify(details)),
  ];
  for (const [i, bytes] of bad.entries()) expect(parseDetails(bytes), `case ${i}`).toBeNull();
});
