/** @file SHA-256, the ledger's BLAKE2b-256, and hashes of canonical JSON. A platform that hashes faster than a portable program may say so. */
import { blake2b } from '@noble/hashes/blake2.js';
import { sha256 as nobleSha256 } from '@noble/hashes/sha2.js';
import { toHex, utf8 } from '../util/bytes.ts';
import { canonicalJson } from '../util/canonical-json.ts';
import type { RunManifest } from './manifest.ts';
import type { Hash } from './names.ts';

/** SHA-256 of the parts one after the other. */
export type Sha256 = (...parts: readonly Uint8Array[]) => Uint8Array;

/** The same function, several times faster. */
export interface PlatformSha256 {
  readonly ofParts: Sha256;
  /** Of UTF-8, in lower-case hex. */
  ofText(text: string): string;
}

let platform: PlatformSha256 | null = null;

/** From here on this thread hashes so; null: portably. Nothing that anybody computes changes, or it is not SHA-256. */
export function hashWith(faster: PlatformSha256 | null): void {
  platform = faster;
}

export const sha256: Sha256 = (...parts) => (platform === null ? portableSha256(...parts) : platform.ofParts(...parts));

const portableSha256: Sha256 = (...parts) => {
  if (parts.length === 1) return nobleSha256(parts[0]!);
  const hash = nobleSha256.create();
  for (const part of parts) hash.update(part);
  return hash.digest();
};

/** Substrate's hash: BLAKE2b of 32 bytes. */
export const blake2b256 = (bytes: Uint8Array): Uint8Array => blake2b(bytes, { dkLen: 32 });

export const hashOfText = (text: string): Hash =>
  (platform === null ? toHex(portableSha256(utf8(text))) : platform.ofText(text)) as Hash;

/** SHA-256 of the RFC 8785 text of `value`. */
export const hashOfJson = (value: unknown): Hash => hashOfText(canonicalJson(value));

/** A run is named by the hash of its manifest. */
export const runIdOf = (manifest: RunManifest): Hash => hashOfJson(manifest);
