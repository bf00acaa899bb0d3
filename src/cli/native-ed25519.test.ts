/** @file OpenSSL's ed25519 and X25519 do what the protocol's pure JavaScript does. */
import { describe, expect, it } from 'vitest';
import { sessionKeyFromSeed } from '../protocol/keys.ts';
import { seal, unseal } from '../protocol/sealed.ts';
import { utf8 } from '../util/bytes.ts';
import { nativeAgreement, nativeSign } from './native-ed25519.ts';

const seed = new Uint8Array(32).fill(9);
const session = sessionKeyFromSeed(seed);

describe('native keys', () => {
  it('sign as pure JavaScript does', () => {
    const sign = nativeSign(seed);
    for (const bytes of [new Uint8Array(0), utf8('message'), new Uint8Array(100_000).fill(3)])
      expect(sign(bytes), `${bytes.byteLength} bytes`).toEqual(session.sign(bytes));
  });

  it('agree on secrets for sealed bytes, with another key each time', () => {
    const bytes = utf8('where and how to write');
    const sealed = [1, 2].map(() => seal(bytes, session.sessionKey, 'grant', nativeAgreement));
    for (const each of sealed) expect(unseal(each, seed, 'grant')).toEqual(bytes);
    expect(sealed[0]).not.toEqual(sealed[1]);
  });

  it('agree on nothing with a key of small order', () => {
    for (const first of [0, 1]) {
      const theirs = new Uint8Array(32);
      theirs[0] = first;
      expect(() => nativeAgreement(theirs), `${first}`).toThrow();
    }
  });
});
