/**
 * @file OpenSSL's ed25519 and X25519: about ten times faster than pure JavaScript, where journals are read and where one process
 * answers a thousand learners.
 */
import { createPrivateKey, createPublicKey, diffieHellman, generateKeyPairSync, sign, verify } from 'node:crypto';
import type { Ed25519Equation, Ed25519EquationAsync } from '../protocol/ed25519.ts';
import type { EphemeralAgreement } from '../protocol/sealed.ts';

/** DER of SubjectPublicKeyInfo for Ed25519 (RFC 8410), up to the 32 key bytes. */
const spkiPrefix = Buffer.from('302a300506032b6570032100', 'hex');
const maxKeys = 4_096;
const keys = new Map<string, ReturnType<typeof createPublicKey>>();

/** The strict checks are the protocol's; this one is handed only well-formed signatures. */
export const nativeEquation: Ed25519Equation = (signature, message, publicKey) => {
  try {
    return verify(null, message, keyOf(publicKey), signature);
  } catch {
    return false; // not a point of the curve
  }
};

/** On another core: OpenSSL's check in the pool of threads that Node has for it. */
export const pooledEquation: Ed25519EquationAsync = (signature, message, publicKey) =>
  new Promise((resolve) => {
    try {
      verify(null, message, keyOf(publicKey), signature, (error, isValid) => resolve(error === null && isValid));
    } catch {
      resolve(false); // not a point of the curve
    }
  });

function keyOf(publicKey: Uint8Array): ReturnType<typeof createPublicKey> {
  const name = Buffer.from(publicKey).toString('hex');
  const known = keys.get(name);
  if (known !== undefined) return known;
  if (keys.size >= maxKeys) keys.clear();
  const key = createPublicKey({ key: Buffer.concat([spkiPrefix, publicKey]), format: 'der', type: 'spki' });
  keys.set(name, key);
  return key;
}

/** DER of PrivateKeyInfo for Ed25519 (RFC 8410), up to the 32 bytes of the seed. */
const pkcs8Prefix = Buffer.from('302e020100300506032b657004220420', 'hex');

/** Signs with the key of a seed: the same signatures as pure JavaScript's. */
export function nativeSign(seed: Uint8Array): (bytes: Uint8Array) => Uint8Array {
  const key = createPrivateKey({ key: Buffer.concat([pkcs8Prefix, seed]), format: 'der', type: 'pkcs8' });
  return (bytes) => new Uint8Array(sign(null, bytes, key));
}

/** DER of SubjectPublicKeyInfo for X25519, up to the 32 key bytes. */
const x25519Prefix = Buffer.from('302a300506032b656e032100', 'hex');

export const nativeAgreement: EphemeralAgreement = (theirs) => {
  const { privateKey, publicKey } = generateKeyPairSync('x25519');
  const other = createPublicKey({ key: Buffer.concat([x25519Prefix, theirs]), format: 'der', type: 'spki' });
  return {
    ephemeral: new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }).subarray(x25519Prefix.byteLength)),
    // OpenSSL refuses a secret of zeros, which is what keys of small order give.
    shared: new Uint8Array(diffieHellman({ privateKey, publicKey: other })),
  };
};
