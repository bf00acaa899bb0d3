/** @file Only who holds the session key reads what was sealed to it, as it was. OpenSSL's X25519 and HKDF agree on the key. */
import { createPrivateKey, createPublicKey, diffieHellman, hkdfSync } from 'node:crypto';
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js';
import { ed25519 } from '@noble/curves/ed25519.js';
import { describe, expect, it } from 'vitest';
import { utf8 } from '../util/bytes.ts';
import { sessionKeyFromSeed } from './keys.ts';
import { seal, unseal } from './sealed.ts';

const seed = new Uint8Array(32).fill(7);
const { sessionKey } = sessionKeyFromSeed(seed);
const secret = utf8('where and how to write');

describe('sealed bytes', () => {
  it('open with the session key under the same context, and differ each time', () => {
    for (const bytes of [secret, new Uint8Array(0), new Uint8Array(70_000).fill(3)]) {
      const sealed = seal(bytes, sessionKey, 'grant');
      expect(unseal(sealed, seed, 'grant')).toEqual(bytes);
      expect(seal(bytes, sessionKey, 'grant')).not.toEqual(sealed);
    }
  });

  it('open with nothing else', () => {
    const sealed = seal(secret, sessionKey, 'grant');
    expect(Buffer.from(sealed).includes(Buffer.from(secret))).toBe(false);
    expect(unseal(sealed, new Uint8Array(32).fill(8), 'grant')).toBeNull();
    expect(unseal(sealed, seed, 'another')).toBeNull();
    expect(unseal(sealed.subarray(0, 40), seed, 'grant')).toBeNull();
    expect(unseal(new Uint8Array(0), seed, 'grant')).toBeNull();
    for (const at of [0, 1, 33, sealed.byteLength - 1]) {
      const changed = sealed.slice();
      changed[at]! ^= 1;
      expect(unseal(changed, seed, 'grant'), `byte ${at}`).toBeNull();
    }
    const lowOrder = sealed.slice();
    lowOrder.fill(0, 1, 33);
    expect(unseal(lowOrder, seed, 'grant')).toBeNull();
  });

  it("are what OpenSSL's parts make of them", () => {
    const sealed = seal(secret, sessionKey, 'grant');
    const ephemeral = sealed.slice(1, 33);
    const privateKey = createPrivateKey({
      key: Buffer.concat([
        Buffer.from('302e020100300506032b656e04220420', 'hex'),
        ed25519.utils.toMontgomerySecret(seed),
      ]),
      ...{ format: 'der', type: 'pkcs8' },
    });
    const publicKey = createPublicKey({
      key: Buffer.concat([Buffer.from('302a300506032b656e032100', 'hex'), ephemeral]),
      ...{ format: 'der', type: 'spki' },
    });
    const ours = createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).subarray(-32);
    const shared = diffieHellman({ privateKey, publicKey });
    const key = hkdfSync('sha256', shared, Buffer.concat([ephemeral, ours]), utf8('accrete/sealed/1'), 32);
    const cipher = xchacha20poly1305(new Uint8Array(key), new Uint8Array(24), utf8('grant'));
    expect(cipher.decrypt(sealed.slice(33))).toEqual(secret);
  });
});
