/** @file Branded names of the protocol and the schemas that check them at the edge. */
import { z } from 'zod';

/** Lower-case hex of 32 bytes: a SHA-256, a Merkle root, or a block hash. */
export type Hash = string & { readonly __brand: 'Hash' };
/** A Bittensor hotkey: SS58 address, prefix 42. */
export type Hotkey = string & { readonly __brand: 'Hotkey' };
/** Lower-case hex of a 32-byte ed25519 public key. */
export type SessionKey = string & { readonly __brand: 'SessionKey' };
/** `hotkey/name`: one learner of a hotkey; the order of these strings is the merge order. */
export type LearnerId = string & { readonly __brand: 'LearnerId' };
/** A decimal number as text: signed bodies carry no floats. */
export type Decimal = string & { readonly __brand: 'Decimal' };

export const hashSchema = z.custom<Hash>(
  (v) => typeof v === 'string' && /^[0-9a-f]{64}$/.test(v),
  'expected 64 hex digits',
);
export const sessionKeySchema = z.custom<SessionKey>(
  (v) => typeof v === 'string' && /^[0-9a-f]{64}$/.test(v),
  'expected an ed25519 public key as 64 hex digits',
);
/** Form only; `ss58.ts` checks the checksum. */
export const hotkeySchema = z.custom<Hotkey>(
  (v) => typeof v === 'string' && /^[1-9A-HJ-NP-Za-km-z]{46,50}$/.test(v),
  'expected an SS58 address',
);
export const learnerNameSchema = z.string().regex(/^[a-z0-9][a-z0-9-]{0,31}$/, 'expected 1-32 of a-z, 0-9 and -');
export const decimalSchema = z.custom<Decimal>(
  (v) => typeof v === 'string' && v.length <= 32 && /^-?(0|[1-9][0-9]*)(\.[0-9]+)?(e[+-]?[0-9]{1,3})?$/.test(v),
  'expected a decimal number as text, in quotes',
);
/** A count, size, index or time: an integer in [0, 2^53). */
export const countSchema = z.int().min(0).max(Number.MAX_SAFE_INTEGER);
/** A half-open range [from, to) with from < to. */
export const rangeSchema = z
  .tuple([countSchema, countSchema])
  .refine(([from, to]) => from < to, 'expected from < to')
  .readonly();

export const learnerIdOf = (hotkey: Hotkey, name: string): LearnerId => `${hotkey}/${name}` as LearnerId;

/** Shortest text that reads back as the same double. */
export function toDecimal(value: number): Decimal {
  if (!Number.isFinite(value)) throw new RangeError(`a decimal must be finite, got ${value}`);
  return (Object.is(value, -0) ? '0' : String(value)) as Decimal;
}
export const fromDecimal = (text: Decimal): number => Number(text);
