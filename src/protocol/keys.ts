/** @file Signers: session keys (ed25519) and hotkeys (sr25519 or ed25519), and the check of what either signed. */
import { getPublicKey, secretFromSeed, sign as signSr25519, verify as verifySr25519 } from '@scure/sr25519';
import { fromHex, toHex, utf8 } from '../util/bytes.ts';
import {
  type Ed25519Equation,
  type Ed25519EquationAsync,
  ed25519PublicKey,
  signEd25519,
  verifyEd25519,
  verifyEd25519Async,
} from './ed25519.ts';
import { sha256 } from './hash.ts';
import type { Hotkey, SessionKey } from './names.ts';
import { unseal } from './sealed.ts';
import { decodeSs58, encodeSs58 } from './ss58.ts';

export type HotkeyScheme = 'sr25519' | 'ed25519';

/** Who signed, as the envelope's `signer` says. */
export type SignerIdentity =
  | { readonly kind: 'session'; readonly sessionKey: SessionKey }
  | { readonly kind: 'hotkey'; readonly scheme: HotkeyScheme; readonly hotkey: Hotkey };

/** Signs with one secret; `signer` is what envelopes carry: `ed25519:<hex>` or `hotkey:<scheme>:<ss58>`. */
export interface Signer {
  readonly signer: string;
  sign(bytes: Uint8Array): Uint8Array;
}
export interface SessionSigner extends Signer {
  readonly sessionKey: SessionKey;
  /** What was sealed to this key (`sealed.ts`); null if it was not. */
  unseal(sealed: Uint8Array, context: string): Uint8Array | null;
}
export interface HotkeySigner extends Signer {
  readonly hotkey: Hotkey;
  readonly scheme: HotkeyScheme;
}

/** A session key from 32 secret bytes. `sign`: a native one of the same seed; ed25519 signatures are deterministic. */
export function sessionKeyFromSeed(
  seed: Uint8Array,
  sign: (bytes: Uint8Array) => Uint8Array = (bytes) => signEd25519(bytes, seed),
): SessionSigner {
  const sessionKey = toHex(ed25519PublicKey(seed)) as SessionKey;
  return {
    ...{ sessionKey, signer: `ed25519:${sessionKey}` },
    sign,
    unseal: (sealed, context) => unseal(sealed, seed, context),
  };
}

/** A hotkey from 32 secret bytes (for sr25519: Substrate's mini secret). Signatures are deterministic. */
export function hotkeyFromSeed(seed: Uint8Array, scheme: HotkeyScheme = 'sr25519'): HotkeySigner {
  if (scheme === 'ed25519') {
    const hotkey = encodeSs58(ed25519PublicKey(seed));
    return { hotkey, scheme, signer: `hotkey:ed25519:${hotkey}`, sign: (bytes) => signEd25519(bytes, seed) };
  }
  return hotkeyFromSecret(secretFromSeed(seed));
}

/** An sr25519 hotkey from its 64 secret bytes (scalar times 8, nonce). Signatures are deterministic. */
export function hotkeyFromSecret(secret: Uint8Array): HotkeySigner {
  const hotkey = encodeSs58(getPublicKey(secret));
  // The nonce's extra randomness comes from secret and message, so that one seed gives one journal.
  const nonceSeed = (bytes: Uint8Array) => sha256(utf8('accrete sr25519 nonce'), secret, bytes);
  return {
    hotkey,
    scheme: 'sr25519',
    signer: `hotkey:sr25519:${hotkey}`,
    sign: (bytes) => signSr25519(secret, bytes, nonceSeed(bytes)),
  };
}

/** Null if the text is not a signer. */
export function parseSigner(text: string): SignerIdentity | null {
  const session = /^ed25519:([0-9a-f]{64})$/.exec(text);
  if (session !== null) return { kind: 'session', sessionKey: session[1] as SessionKey };
  const hotkey = /^hotkey:(sr25519|ed25519):([1-9A-HJ-NP-Za-km-z]{46,50})$/.exec(text);
  if (hotkey === null || decodeSs58(hotkey[2]!) === null) return null;
  return { kind: 'hotkey', scheme: hotkey[1] as HotkeyScheme, hotkey: hotkey[2] as Hotkey };
}

/** Whether `signature` (64 bytes) is the signer's over `bytes`. Never throws. */
export function verifySignature(
  signer: SignerIdentity,
  bytes: Uint8Array,
  signature: Uint8Array,
  equation?: Ed25519Equation,
): boolean {
  if (signer.kind === 'session') return verifyEd25519(signature, bytes, fromHex(signer.sessionKey)!, equation);
  const publicKey = decodeSs58(signer.hotkey);
  if (publicKey === null || signature.byteLength !== 64) return false;
  if (signer.scheme === 'ed25519') return verifyEd25519(signature, bytes, publicKey, equation);
  try {
    return verifySr25519(bytes, signature, publicKey);
  } catch {
    return false; // bytes that are no signature or no point
  }
}

/** A hotkey's signature; ed25519's equation is computed elsewhere meanwhile. Never rejects unless `equation` does. */
export async function verifyHotkeySignature(
  signer: Extract<SignerIdentity, { kind: 'hotkey' }>,
  bytes: Uint8Array,
  signature: Uint8Array,
  equation: Ed25519EquationAsync,
): Promise<boolean> {
  if (signer.scheme === 'sr25519') return verifySignature(signer, bytes, signature);
  const publicKey = decodeSs58(signer.hotkey);
  return publicKey !== null && verifyEd25519Async(signature, bytes, publicKey, equation);
}
