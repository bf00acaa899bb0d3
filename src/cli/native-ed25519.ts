/** @file OpenSSL's check of the ed25519 equation: about ten times faster than pure JavaScript, where journals are read. */
import { createPublicKey, verify } from 'node:crypto';
import type { Ed25519Equation, Ed25519EquationAsync } from '../protocol/ed25519.ts';

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
