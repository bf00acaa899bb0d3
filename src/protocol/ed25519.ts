/**
 * @file Strict ed25519 (RFC 8032 section 5.1.7): S below L, canonical encodings, no point of small order, the equation
 * without the cofactor. One signature scheme for session keys; nothing here falls back to another.
 */
import { ed25519 } from '@noble/curves/ed25519.js';

const order = 2n ** 252n + 27742317777372353535851937790883648493n;

/** The arithmetic of a verification, [S]B = R + [k]A, once encodings are known to be good; a platform's may be faster. */
export type Ed25519Equation = (signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array) => boolean;

const nobleEquation: Ed25519Equation = (signature, message, publicKey) =>
  ed25519.verify(signature, message, publicKey, { zip215: false });

/** False for anything but a good signature; never throws. */
export function verifyEd25519(
  signature: Uint8Array,
  message: Uint8Array,
  publicKey: Uint8Array,
  equation: Ed25519Equation = nobleEquation,
): boolean {
  if (signature.byteLength !== 64 || publicKey.byteLength !== 32) return false;
  if (littleEndian(signature.subarray(32)) >= order) return false;
  if (!isGoodPoint(publicKey) || !isGoodPoint(signature.subarray(0, 32))) return false;
  try {
    return equation(signature, message, publicKey);
  } catch {
    return false;
  }
}

export const signEd25519 = (message: Uint8Array, seed: Uint8Array): Uint8Array => ed25519.sign(message, seed);
export const ed25519PublicKey = (seed: Uint8Array): Uint8Array => ed25519.getPublicKey(seed);

function littleEndian(bytes: Uint8Array): bigint {
  let value = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]!);
  return value;
}

const fieldPrime = 2n ** 255n - 19n;
/** y of the points of order 1, 2, 4 and 8; the sign bit of x does not matter. */
const smallOrderY = new Set(
  [
    '0100000000000000000000000000000000000000000000000000000000000000',
    'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    '0000000000000000000000000000000000000000000000000000000000000000',
    '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  ].map((hex) => littleEndian(Buffer.from(hex, 'hex'))),
);

/** A canonical encoding (y below p) whose point is not of small order. Decoding itself is the verifier's. */
function isGoodPoint(encoded: Uint8Array): boolean {
  const y = littleEndian(encoded) & (2n ** 255n - 1n);
  return y < fieldPrime && !smallOrderY.has(y);
}
