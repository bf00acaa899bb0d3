/**
 * @file Ed25519 (RFC 8032), strict: S ≥ L, points that are encoded with y ≥ p, and small-order A or R are refused, and
 * the equation is checked without the cofactor. So a signature is valid for every implementation or for none.
 */
import { ed25519 } from '@noble/curves/ed25519.js';
import { bytesToNumberLE } from '@noble/curves/utils.js';
import { sha512 } from '@noble/hashes/sha2.js';

/**
 * Checks S·B = R + k·A for a well-formed, strict-checked signature. An adapter may hand in a native one (OpenSSL's is
 * cofactorless too).
 */
export type Ed25519Equation = (signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array) => boolean;
/** The same, computed elsewhere meanwhile. */
export type Ed25519EquationAsync = (
  signature: Uint8Array,
  message: Uint8Array,
  publicKey: Uint8Array,
) => Promise<boolean>;

const { Point } = ed25519;
const fieldPrime = 2n ** 255n - 19n;
const groupOrder = Point.Fn.ORDER;

/** y of the eight points of small order (the sign of x does not matter): order 1, 2, 4, and two pairs of order 8. */
const smallOrderY: ReadonlySet<bigint> = new Set([
  1n,
  fieldPrime - 1n,
  0n,
  0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n,
  0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n,
]);

/** Whether 32 bytes encode a point canonically (y < p) that is not of small order. Decoding is left to the equation. */
function isStrictPoint(bytes: Uint8Array): boolean {
  const y = bytesToNumberLE(bytes) & ((1n << 255n) - 1n);
  return y < fieldPrime && !smallOrderY.has(y);
}

/** Never throws: bytes of a wrong length are an invalid signature. */
export function verifyEd25519(
  signature: Uint8Array,
  message: Uint8Array,
  publicKey: Uint8Array,
  equation: Ed25519Equation = checkEquation,
): boolean {
  return isStrict(signature, publicKey) && equation(signature, message, publicKey);
}

/** `verifyEd25519` with an equation that is computed elsewhere. */
export async function verifyEd25519Async(
  signature: Uint8Array,
  message: Uint8Array,
  publicKey: Uint8Array,
  equation: Ed25519EquationAsync,
): Promise<boolean> {
  return isStrict(signature, publicKey) && equation(signature, message, publicKey);
}

function isStrict(signature: Uint8Array, publicKey: Uint8Array): boolean {
  if (signature.byteLength !== 64 || publicKey.byteLength !== 32) return false;
  if (bytesToNumberLE(signature.subarray(32)) >= groupOrder) return false;
  return isStrictPoint(publicKey) && isStrictPoint(signature.subarray(0, 32));
}

function checkEquation(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean {
  try {
    const a = Point.fromBytes(publicKey);
    const r = Point.fromBytes(signature.subarray(0, 32));
    const s = bytesToNumberLE(signature.subarray(32));
    const digest = sha512.create().update(signature.subarray(0, 32)).update(publicKey).update(message).digest();
    const k = bytesToNumberLE(digest) % groupOrder;
    return r.add(a.multiplyUnsafe(k)).equals(Point.BASE.multiplyUnsafe(s));
  } catch {
    return false; // not a point of the curve
  }
}

export const ed25519PublicKey = (seed: Uint8Array): Uint8Array => ed25519.getPublicKey(seed);
export const signEd25519 = (message: Uint8Array, seed: Uint8Array): Uint8Array => ed25519.sign(message, seed);
