/**
 * @file Signed extrinsics of version 4: made for a runtime, and read again from blocks. Which extensions are signed comes from metadata;
 * one that wants bytes which are not known here is refused by name instead of guessed.
 */
import { blake2b256 } from '../../protocol/hash.ts';
import type { HotkeyScheme } from '../../protocol/keys.ts';
import type { Hotkey } from '../../protocol/names.ts';
import { decodeSs58, encodeSs58 } from '../../protocol/ss58.ts';
import { concatBytes, fromHex } from '../../util/bytes.ts';
import { assert } from '../../util/errors.ts';
import type { LedgerSigner } from '../calls.ts';
import { LedgerError } from '../errors.ts';
import type { Runtime } from './runtime.ts';

export interface SigningContext {
  readonly runtime: Runtime;
  /** Block 0, 64 hex digits. */
  readonly genesis: string;
  readonly nonce: number;
  /** The extrinsic counts from this (finalised) block on, for `mortalBlocks`. */
  readonly birth: { readonly number: number; readonly hash: string };
}

/** Blocks for which an extrinsic can be included; a power of two from 4 to 4096. */
export const mortalBlocks = 64;

const schemeBytes: { readonly [S in HotkeyScheme]: number } = { ed25519: 0, sr25519: 1 };
const signedVersion4 = 0x84;
/** Account, scheme, signature, call. */
const minSignedBytes = 32 + 1 + 64 + 2;

/** SCALE's compact number. */
export function compact(value: number | bigint): Uint8Array {
  const n = BigInt(value);
  if (n < 64n) return littleEndian(n << 2n, 1);
  if (n < 1n << 14n) return littleEndian((n << 2n) | 1n, 2);
  if (n < 1n << 30n) return littleEndian((n << 2n) | 2n, 4);
  let size = 4;
  while (n >> BigInt(8 * size) > 0n) size++;
  return concatBytes(Uint8Array.of(((size - 4) << 2) | 3), littleEndian(n, size));
}

function littleEndian(value: bigint, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i++) bytes[i] = Number((value >> BigInt(8 * i)) & 255n);
  return bytes;
}

/** A mortal era of `mortalBlocks` from `number` on: period in the low four bits, phase above. */
function mortalEra(number: number): Uint8Array {
  const phase = number % mortalBlocks;
  return littleEndian(BigInt((Math.log2(mortalBlocks) - 1) | (phase << 4)), 2);
}

interface ExtensionBytes {
  readonly value: Uint8Array;
  readonly additional: Uint8Array;
}

const nothing = new Uint8Array();
const zero = Uint8Array.of(0);

function extensionBytes(context: SigningContext): Readonly<Record<string, ExtensionBytes>> {
  const { runtime, genesis, nonce, birth } = context;
  const mortality = { value: mortalEra(birth.number), additional: fromHex(birth.hash)! };
  const u32 = (value: number): ExtensionBytes => ({ value: nothing, additional: littleEndian(BigInt(value), 4) });
  return {
    CheckSpecVersion: u32(runtime.version.specVersion),
    CheckTxVersion: u32(runtime.version.transactionVersion),
    CheckGenesis: { value: nothing, additional: fromHex(genesis)! },
    CheckMortality: mortality,
    CheckEra: mortality,
    CheckNonce: { value: compact(nonce), additional: nothing },
    /** No tip. */
    ChargeTransactionPayment: { value: zero, additional: nothing },
    ChargeTransactionPaymentWrapper: { value: zero, additional: nothing },
    /** No metadata hash: mode 0, and none. */
    CheckMetadataHash: { value: zero, additional: zero },
  };
}

/** @throws LedgerError UNSUPPORTED, BAD_SIGNATURE */
export function signExtrinsic(context: SigningContext, signer: LedgerSigner, call: Uint8Array): Uint8Array {
  const { runtime } = context;
  if (!runtime.takesVersion4)
    throw new LedgerError('UNSUPPORTED', 'this runtime takes no extrinsics of version 4; a newer Accrete is needed');
  const known = extensionBytes(context);
  const parts = runtime.extensions.map(({ identifier, isValueEmpty, isAdditionalEmpty }): ExtensionBytes => {
    const bytes = known[identifier] ?? { value: nothing, additional: nothing };
    if (isValueEmpty === (bytes.value.byteLength === 0) && isAdditionalEmpty === (bytes.additional.byteLength === 0))
      return bytes;
    throw new LedgerError(
      'UNSUPPORTED',
      `this runtime (spec ${runtime.version.specVersion}) wants something signed as ${identifier}, which this program does not know; update Accrete`,
    );
  });
  const extra = concatBytes(...parts.map(({ value }) => value));
  const payload = concatBytes(call, extra, ...parts.map(({ additional }) => additional));
  const signature = signer.sign(payload.byteLength > 256 ? blake2b256(payload) : payload);
  if (signature.byteLength !== 64)
    throw new LedgerError('BAD_SIGNATURE', `a signature has 64 bytes, got ${signature.byteLength}`);
  const account = decodeSs58(signer.hotkey);
  assert(account !== null, 'a signer is an SS58 address');
  const head = Uint8Array.of(signedVersion4, 0); // MultiAddress::Id
  const body = concatBytes(head, account, Uint8Array.of(schemeBytes[signer.scheme]), signature, extra, call);
  return concatBytes(compact(body.byteLength), body);
}

export interface ReadExtrinsic {
  /** Null if it is not signed. */
  readonly signer: Hotkey | null;
  /** Pallet index, call index, arguments. */
  readonly call: Uint8Array;
}

/** Signer and call of an extrinsic in a block; null for kinds that are not read here (versions after 4, other addresses). */
export function readExtrinsic(runtime: Runtime, bytes: Uint8Array): ReadExtrinsic | null {
  let at = compactSize(bytes, 0);
  const version = bytes[at++];
  if (version === 4 || version === 5) return { signer: null, call: bytes.slice(at) };
  if (version !== signedVersion4 || bytes[at++] !== 0 || bytes.byteLength < at + minSignedBytes) return null;
  const signer = encodeSs58(bytes.slice(at, at + 32));
  at += 32;
  const scheme = bytes[at++];
  at += scheme === 2 ? 65 : 64;
  for (const { identifier, isValueEmpty } of runtime.extensions) {
    if (isValueEmpty) continue;
    const size = extensionSize(identifier, bytes, at);
    if (size === null) return null;
    at += size;
  }
  return at + 2 <= bytes.byteLength ? { signer, call: bytes.slice(at) } : null;
}

function extensionSize(identifier: string, bytes: Uint8Array, at: number): number | null {
  switch (identifier) {
    case 'CheckMortality':
    case 'CheckEra':
      return bytes[at] === 0 ? 1 : 2;
    case 'CheckNonce':
    case 'ChargeTransactionPayment':
    case 'ChargeTransactionPaymentWrapper':
      return compactSize(bytes, at);
    case 'CheckMetadataHash':
      return 1;
    default:
      return null;
  }
}

function compactSize(bytes: Uint8Array, at: number): number {
  const first = bytes[at] ?? 0;
  const mode = first & 3;
  return mode === 3 ? 5 + (first >> 2) : 1 << mode;
}
