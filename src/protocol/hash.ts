/** @file SHA-256, the ledger's BLAKE2b-256, and hashes of canonical JSON. An adapter may hand in a faster SHA-256 where much is hashed. */
import { blake2b } from '@noble/hashes/blake2.js';
import { sha256 as nobleSha256 } from '@noble/hashes/sha2.js';
import { toHex, utf8 } from '../util/bytes.ts';
import { canonicalJson } from '../util/canonical-json.ts';
import type { RunManifest } from './manifest.ts';
import type { Hash } from './names.ts';

/** SHA-256 of the parts one after the other. */
export type Sha256 = (...parts: readonly Uint8Array[]) => Uint8Array;

export const sha256: Sha256 = (...parts) => {
  if (parts.length === 1) return nobleSha256(parts[0]!);
  const hash = nobleSha256.create();
  for (const part of parts) hash.update(part);
  return hash.digest();
};

/** Substrate's hash: BLAKE2b of 32 bytes. */
export const blake2b256 = (bytes: Uint8Array): Uint8Array => blake2b(bytes, { dkLen: 32 });

export const hashOfText = (text: string): Hash => toHex(sha256(utf8(text))) as Hash;

/** SHA-256 of the RFC 8785 text of `value`. */
export const hashOfJson = (value: unknown): Hash => hashOfText(canonicalJson(value));

/** A run is named by the hash of its manifest. */
export const runIdOf = (manifest: RunManifest): Hash => hashOfJson(manifest);
