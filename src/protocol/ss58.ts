/** @file SS58 addresses of 32-byte public keys, network prefix 42 (Bittensor's and Substrate's generic one). */
import { blake2b } from '@noble/hashes/blake2.js';
import { concatBytes, equalBytes, utf8 } from '../util/bytes.ts';
import type { Hotkey } from './names.ts';

const alphabet = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
const networkPrefix = 42;

const checksumOf = (payload: Uint8Array): Uint8Array =>
  blake2b(concatBytes(utf8('SS58PRE'), payload), { dkLen: 64 }).subarray(0, 2);

export function encodeSs58(publicKey: Uint8Array): Hotkey {
  const payload = concatBytes(Uint8Array.of(networkPrefix), publicKey);
  return toBase58(concatBytes(payload, checksumOf(payload))) as Hotkey;
}

/** The public key of an address, or null: not base58, another length or network, a wrong checksum. */
export function decodeSs58(address: string): Uint8Array | null {
  const bytes = fromBase58(address);
  if (bytes === null || bytes.byteLength !== 35 || bytes[0] !== networkPrefix) return null;
  const payload = bytes.subarray(0, 33);
  return equalBytes(checksumOf(payload), bytes.subarray(33)) ? payload.slice(1) : null;
}

function toBase58(bytes: Uint8Array): string {
  let value = BigInt(`0x${Buffer.from(bytes).toString('hex') || '0'}`);
  let text = '';
  for (; value > 0n; value /= 58n) text = alphabet[Number(value % 58n)]! + text;
  const zeros = bytes.findIndex((byte) => byte !== 0);
  return '1'.repeat(zeros < 0 ? bytes.length : zeros) + text;
}

function fromBase58(text: string): Uint8Array | null {
  if (text.length > 64) return null;
  let value = 0n;
  for (const letter of text) {
    const digit = alphabet.indexOf(letter);
    if (digit < 0) return null;
    value = value * 58n + BigInt(digit);
  }
  const hex = value === 0n ? '' : value.toString(16);
  const body = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
  const zeros = /^1*/.exec(text)![0].length;
  return concatBytes(new Uint8Array(zeros), body);
}
