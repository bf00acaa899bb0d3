/** @file The platform's SHA-256 is the portable one, whichever way it is asked. */
import { expect, it } from 'vitest';
import { hashOfText, hashWith, sha256 } from '../protocol/hash.ts';
import { utf8 } from './bytes.ts';
import { nodePlatformSha256 } from './node-sha256.ts';

// The right side is the portable program.
hashWith(null);
it.each(['', 'abc', 'grün 漢字 \u{1f600}', 'x'.repeat(100_000)])('gives the same for %.20s', (text) => {
  const bytes = utf8(text);
  const middle = bytes.length >> 1;
  expect(nodePlatformSha256.ofText(text)).toBe(hashOfText(text));
  expect([...nodePlatformSha256.ofParts(bytes)]).toEqual([...sha256(bytes)]);
  expect([...nodePlatformSha256.ofParts(bytes.subarray(0, middle), bytes.subarray(middle))]).toEqual([
    ...sha256(bytes),
  ]);
});

it('gives the digest of FIPS 180-4 for abc', () => {
  expect(nodePlatformSha256.ofText('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
});
