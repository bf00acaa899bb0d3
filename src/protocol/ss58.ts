/** @file SS58 addresses (Substrate's Base58 with a network prefix and a BLAKE2b checksum) of 32-byte public keys. */
import { blake2b } from '@noble/hashes/blake2.js';
import { concatBytes, utf8 } from '../util/bytes.ts';
import { assert } from '../util/errors.ts';
import type { Hotkey } from './names.ts';

/** Substrate's generic prefix, which Bittensor uses. */
export const ss58Prefix = 42;
const alphabet = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
const checksumBytes = 2;

export function encodeSs58(publicKey: Uint8Array): Hotkey {
  assert(publicKey.byteLength === 32, `an SS58 address holds 32 bytes, got ${publicKey.byteLength}`);
  const payload = concatBytes(Uint8Array.of(ss58Prefix), publicKey);
  return encodeBase58(concatBytes(payload, checksumOf(payload))) as Hotkey;
}

/** The public key of an address with prefix 42; null if letters, length, prefix or checksum are wrong. */
export function decodeSs58(address: string): Uint8Array | null {
  if (address.length > 50) return null;
  const bytes = decodeBase58(address);
  if (bytes === null || bytes.byteLength !== 1 + 32 + checksumBytes || bytes[0] !== ss58Prefix) return null;
  const payload = bytes.subarray(0, 33);
  const expected = checksumOf(payload);
  return bytes[33] === expected[0] && bytes[34] === expected[1] ? payload.slice(1) : null;
}

const checksumOf = (payload: Uint8Array): Uint8Array =>
  blake2b(concatBytes(utf8('SS58PRE'), payload), { dkLen: 64 }).subarray(0, checksumBytes);

function encodeBase58(bytes: Uint8Array): string {
  let value = 0n;
  for (const byte of bytes) value = value * 256n + BigInt(byte);
  let text = '';
  for (; value > 0n; value /= 58n) text = alphabet[Number(value % 58n)] + text;
  for (let i = 0; i < bytes.byteLength && bytes[i] === 0; i++) text = '1' + text;
  return text;
}

function decodeBase58(text: string): Uint8Array | null {
  let value = 0n;
  for (const letter of text) {
    const digit = alphabet.indexOf(letter);
    if (digit < 0) return null;
    value = value * 58n + BigInt(digit);
  }
  const bytes: number[] = [];
  for (; value > 0n; value >>= 8n) bytes.unshift(Number(value & 255n));
  for (let i = 0; i < text.length && text[i] === '1'; i++) bytes.unshift(0);
  return Uint8Array.from(bytes);
}
