/** @file What a commitment to weights is a hash of: the SCALE bytes that the chain hashes when they are revealed. */
import { blake2b256 } from '../protocol/hash.ts';
import type { Hash, Hotkey } from '../protocol/names.ts';
import { decodeSs58 } from '../protocol/ss58.ts';
import { concatBytes, toHex } from '../util/bytes.ts';
import { assert } from '../util/errors.ts';

export interface CommittedWeights {
  readonly uids: readonly number[];
  readonly values: readonly number[];
  readonly salt: readonly number[];
  readonly versionKey: number;
}

/** SCALE of (AccountId32, u16 netuid, Vec<u16> uids, Vec<u16> values, Vec<u16> salt, u64 version key); little-endian. */
export function committedBytes(hotkey: Hotkey, netuid: number, weights: CommittedWeights): Uint8Array {
  const account = decodeSs58(hotkey);
  assert(account !== null, 'a hotkey is an SS58 address');
  const versionKey = new Uint8Array(8);
  new DataView(versionKey.buffer).setBigUint64(0, BigInt(weights.versionKey), true);
  return concatBytes(
    account,
    u16s([netuid]),
    ...[weights.uids, weights.values, weights.salt].flatMap((list) => [compact(list.length), u16s(list)]),
    versionKey,
  );
}

/** BLAKE2b-256 of those bytes: what `commit_weights` carries. */
export const weightsCommitHash = (hotkey: Hotkey, netuid: number, weights: CommittedWeights): Hash =>
  toHex(blake2b256(committedBytes(hotkey, netuid, weights))) as Hash;

function u16s(values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(2 * values.length);
  const view = new DataView(bytes.buffer);
  for (const [i, value] of values.entries()) view.setUint16(2 * i, value, true);
  return bytes;
}

/** SCALE's compact length: one, two or four bytes; the lowest two bits say which. */
function compact(length: number): Uint8Array {
  if (length < 64) return Uint8Array.of(length << 2);
  if (length < 16_384) return Uint8Array.of(((length << 2) | 1) & 255, length >> 6);
  assert(length < 2 ** 30, 'a vector of 2³⁰ entries');
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, length * 4 + 2, true);
  return bytes;
}
