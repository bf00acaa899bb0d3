/**
 * @file Bytes that only the holder of one session key can read: X25519 between a key made for this one message and the
 * session key (its ed25519 point in Montgomery form), HKDF-SHA256, XChaCha20-Poly1305. Who sealed them is not said: anybody can.
 *
 * Sealed, version 1: `01 ‖ ephemeral public key (32) ‖ ciphertext with tag (16)`. The key follows from both public keys, so that it is
 * used once; hence the nonce of zeros. `context` is bound as associated data.
 */
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js';
import { ed25519, x25519 } from '@noble/curves/ed25519.js';
import { hkdf } from '@noble/hashes/hkdf.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { concatBytes, fromHex, utf8 } from '../util/bytes.ts';
import type { SessionKey } from './names.ts';

const version = 1;
const keyBytes = 32;
const tagBytes = 16;
const domain = 'accrete/sealed/1';

/**
 * X25519 of a key made for this one call and another's public key; throws where that is of small order. An adapter may hand in a
 * native one.
 */
export type EphemeralAgreement = (theirs: Uint8Array) => {
  readonly ephemeral: Uint8Array;
  readonly shared: Uint8Array;
};

const agree: EphemeralAgreement = (theirs) => {
  const secret = x25519.utils.randomSecretKey();
  return { ephemeral: x25519.getPublicKey(secret), shared: x25519.getSharedSecret(secret, theirs) };
};

/** @throws where the session key is no point to agree on a secret with */
export function seal(
  bytes: Uint8Array,
  recipient: SessionKey,
  context: string,
  agreement: EphemeralAgreement = agree,
): Uint8Array {
  const theirs = ed25519.utils.toMontgomery(fromHex(recipient)!);
  const { ephemeral, shared } = agreement(theirs);
  const cipher = cipherOf(shared, concatBytes(ephemeral, theirs), context);
  return concatBytes(Uint8Array.of(version), ephemeral, cipher.encrypt(bytes));
}

/** Null if it was sealed to another key, under another context, or was changed. */
export function unseal(sealed: Uint8Array, seed: Uint8Array, context: string): Uint8Array | null {
  if (sealed[0] !== version || sealed.byteLength < 1 + keyBytes + tagBytes) return null;
  const ephemeral = sealed.slice(1, 1 + keyBytes);
  const secret = ed25519.utils.toMontgomerySecret(seed);
  try {
    const ours = x25519.getPublicKey(secret);
    const cipher = cipherOf(x25519.getSharedSecret(secret, ephemeral), concatBytes(ephemeral, ours), context);
    return cipher.decrypt(sealed.subarray(1 + keyBytes));
  } catch {
    return null; // no point, or a tag that does not fit
  }
}

function cipherOf(shared: Uint8Array, publicKeys: Uint8Array, context: string) {
  const key = hkdf(sha256, shared, publicKeys, utf8(domain), keyBytes);
  return xchacha20poly1305(key, new Uint8Array(24), utf8(context));
}
