/** @file Ed25519 against RFC 8032 section 7.1, OpenSSL, and signatures that a lax verifier takes. */
import { createPublicKey, verify as opensslVerify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { ed25519 } from '@noble/curves/ed25519.js';
import { bytesToNumberLE, numberToBytesLE } from '@noble/curves/utils.js';
import { sha512 } from '@noble/hashes/sha2.js';
import { describe, expect, it } from 'vitest';
import { concatBytes, fromHex, toHex } from '../util/bytes.ts';
import { ed25519PublicKey, signEd25519, verifyEd25519 } from './ed25519.ts';

const { signatures } = JSON.parse(
  readFileSync(new URL('../../tests/vectors/protocol/rfc8032.json', import.meta.url), 'utf8'),
) as { signatures: { name: string; seed: string; publicKey: string; message: string; signature: string }[] };
const hex = (text: string): Uint8Array => fromHex(text)!;
const { Point } = ed25519;
const order = Point.Fn.ORDER;

const openssl = (signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean => {
  const key = { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(publicKey).toString('base64url') };
  return opensslVerify(null, message, createPublicKey({ key, format: 'jwk' }), signature);
};

describe('ed25519', () => {
  it('makes and takes the signatures of RFC 8032', () => {
    for (const { name, seed, publicKey, message, signature } of signatures) {
      expect(toHex(ed25519PublicKey(hex(seed))), name).toBe(publicKey);
      expect(toHex(signEd25519(hex(message), hex(seed))), name).toBe(signature);
      expect(verifyEd25519(hex(signature), hex(message), hex(publicKey)), name).toBe(true);
      expect(verifyEd25519(hex(signature), hex(message), hex(publicKey), openssl), name).toBe(true);
    }
  });

  it('refuses a changed message, key or signature, and bytes of another length', () => {
    const { publicKey, message, signature } = signatures[2]!;
    const flip = (text: string, at: number): Uint8Array => hex(text).with(at, hex(text)[at]! ^ 1);
    for (const at of [0, 31, 32, 63])
      expect(verifyEd25519(flip(signature, at), hex(message), hex(publicKey))).toBe(false);
    expect(verifyEd25519(hex(signature), flip(message, 0), hex(publicKey))).toBe(false);
    for (const at of [0, 15, 31]) expect(verifyEd25519(hex(signature), hex(message), flip(publicKey, at))).toBe(false);
    expect(verifyEd25519(hex(signature).subarray(1), hex(message), hex(publicKey))).toBe(false);
    expect(verifyEd25519(hex(signature), hex(message), hex(publicKey).subarray(1))).toBe(false);
    expect(verifyEd25519(new Uint8Array(64).fill(255), hex(message), hex(publicKey))).toBe(false);
  });

  it('refuses S + L, which is the same number modulo L', () => {
    for (const { message, publicKey, signature } of signatures) {
      const s = bytesToNumberLE(hex(signature).subarray(32));
      const malleated = concatBytes(hex(signature).subarray(0, 32), numberToBytesLE(s + order, 32));
      expect(verifyEd25519(malleated, hex(message), hex(publicKey))).toBe(false);
    }
  });

  it('refuses every encoding of a point of small order as key and as R', () => {
    // [L]P of points of the curve gives the torsion subgroup: all 8 points.
    const torsion = new Map<string, Uint8Array>();
    for (let y = 2; torsion.size < 8; y++) {
      try {
        const point = Point.fromBytes(numberToBytesLE(BigInt(y), 32));
        const small = point.multiplyUnsafe(order - 1n).add(point);
        torsion.set(small.toHex(), small.toBytes());
      } catch {
        // no point has this y
      }
    }
    const message = new Uint8Array(3);
    const prime = 2n ** 255n - 19n;
    for (const point of torsion.values()) {
      for (const sign of [0, 0x80]) {
        const key = point.with(31, (point[31]! & 0x7f) | sign);
        // With S = 0 and R = −[k]A such a key "signs" anything for a verifier that takes it.
        for (const r of torsion.values())
          expect(verifyEd25519(concatBytes(r, new Uint8Array(32)), message, key)).toBe(false);
      }
      const y = bytesToNumberLE(point) & ((1n << 255n) - 1n);
      const { publicKey, signature } = signatures[1]!;
      expect(verifyEd25519(concatBytes(point, hex(signature).subarray(32)), message, hex(publicKey))).toBe(false);
      if (y < 19n)
        expect(verifyEd25519(new Uint8Array(64), message, numberToBytesLE(y + prime, 32)), `y = p + ${y}`).toBe(false);
    }
  });

  it('checks without the cofactor, as OpenSSL does', () => {
    // R' = R + T of order 8, with S made for R': holds with the cofactor, not without.
    const secret = 123456789n;
    const nonce = 987654321n;
    const key = Point.BASE.multiply(secret).toBytes();
    const small = Point.fromBytes(hex('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a'));
    const message = Uint8Array.of(1, 2, 3);
    const r = Point.BASE.multiply(nonce).add(small).toBytes();
    const k = bytesToNumberLE(sha512(concatBytes(r, key, message))) % order;
    const s = numberToBytesLE((nonce + k * secret) % order, 32);
    const signature = concatBytes(r, s);
    expect(ed25519.verify(signature, message, key)).toBe(true);
    expect(openssl(signature, message, key)).toBe(false);
    expect(verifyEd25519(signature, message, key)).toBe(false);
  });
});
