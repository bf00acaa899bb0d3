/**
 * @file Mnemonics and secret URIs as Substrate reads them: BIP-39 words, whose entropy (not their text) is stretched to a 32-byte
 * seed, then hard (`//`) and soft (`/`) junctions, then `///password`.
 */
import { pbkdf2Async } from '@noble/hashes/pbkdf2.js';
import { sha512 } from '@noble/hashes/sha2.js';
import { entropyToMnemonic, mnemonicToEntropy } from '@scure/bip39';
import { wordlist } from '@scure/bip39/wordlists/english.js';
import { HDKD, secretFromSeed } from '@scure/sr25519';
import { blake2b256 } from '../protocol/hash.ts';
import type { HotkeyScheme } from '../protocol/keys.ts';
import { concatBytes, fromHex, utf8 } from '../util/bytes.ts';
import { WalletError } from './errors.ts';

/** 16 bytes of entropy give 12 words, 32 give 24. */
export const phraseOfEntropy = (entropy: Uint8Array): string => entropyToMnemonic(entropy, wordlist);

/** A key's secret: sr25519 as 64 bytes (scalar, nonce), ed25519 as its seed; the seed where it is known. */
export interface Secret {
  readonly scheme: HotkeyScheme;
  readonly bytes: Uint8Array;
  readonly seed: Uint8Array | null;
  /** The words, where they alone give the key. */
  readonly phrase: string | null;
}

/** @throws WalletError BAD_PHRASE: how many words, which checksum; never the words */
export async function seedOfPhrase(phrase: string, password = ''): Promise<Uint8Array> {
  const words = phrase.normalize('NFKD').trim().split(/\s+/);
  const unknown = words.findIndex((word) => !wordlist.includes(word));
  if (unknown >= 0)
    throw new WalletError('BAD_PHRASE', `word ${unknown + 1} is not of the BIP-39 list; check its spelling`);
  let entropy: Uint8Array;
  try {
    entropy = mnemonicToEntropy(words.join(' '), wordlist);
  } catch {
    throw new WalletError(
      'BAD_PHRASE',
      `the checksum of the ${words.length} words is wrong (12, 15, 18, 21 or 24 are expected); check their order`,
    );
  }
  const salt = utf8(`mnemonic${password}`);
  return (await pbkdf2Async(sha512, entropy, salt, { c: 2_048, dkLen: 64 })).slice(0, 32);
}

export function secretOfSeed(seed: Uint8Array, scheme: HotkeyScheme, phrase: string | null = null): Secret {
  return { scheme, bytes: scheme === 'sr25519' ? secretFromSeed(seed) : seed, seed, phrase };
}

const uriForm = /^([^/]+?)((?:\/\/?[^/]+)*)(?:\/\/\/(.*))?$/s;

/** `WORDS` or `0xSEED`, then `//hard`, `/soft` and `///password`. @throws WalletError BAD_PHRASE */
export async function secretOfUri(uri: string, scheme: HotkeyScheme): Promise<Secret> {
  const [, root, path = '', password] = uriForm.exec(uri.trim()) ?? [];
  if (root === undefined)
    throw new WalletError('BAD_PHRASE', 'expected words or 0x and 64 hex digits, then //hard, /soft, ///password');
  const hex = /^0x([0-9a-fA-F]{64})$/.exec(root.trim())?.[1];
  const seed = hex === undefined ? await seedOfPhrase(root, password) : fromHex(hex.toLowerCase())!;
  const isPlain = hex === undefined && path === '' && password === undefined;
  let secret = secretOfSeed(seed, scheme, isPlain ? root.trim().split(/\s+/).join(' ') : null);
  for (const [, slashes, code] of path.matchAll(/(\/\/?)([^/]+)/g)) secret = derive(secret, code!, slashes === '//');
  return secret;
}

function derive(secret: Secret, code: string, isHard: boolean): Secret {
  const chainCode = chainCodeOf(code);
  if (secret.scheme === 'ed25519') {
    if (!isHard) throw new WalletError('BAD_PHRASE', `ed25519 has no soft derivation; write //${code}`);
    const seed = blake2b256(concatBytes(scaleText('Ed25519HDKD'), secret.bytes, chainCode));
    return { scheme: 'ed25519', bytes: seed, seed, phrase: null };
  }
  // The nonce of a soft key is drawn from zeros: the same path gives the same file.
  const bytes = isHard
    ? HDKD.secretHard(secret.bytes, chainCode)
    : HDKD.secretSoft(secret.bytes, chainCode, new Uint8Array(32));
  return { scheme: 'sr25519', bytes, seed: null, phrase: null };
}

/** A number as u64, anything else as SCALE text; hashed if it is longer than 32 bytes, else padded to them. */
function chainCodeOf(code: string): Uint8Array {
  const number = /^\d{1,20}$/.test(code) ? BigInt(code) : null;
  const padded = new Uint8Array(32);
  if (number !== null && number < 2n ** 64n) {
    new DataView(padded.buffer).setBigUint64(0, number, true);
    return padded;
  }
  const text = scaleText(code);
  if (text.byteLength > 32) return blake2b256(text);
  padded.set(text);
  return padded;
}

/** SCALE's text: compact length (below 2¹⁴ here), then UTF-8. */
function scaleText(text: string): Uint8Array {
  const bytes = utf8(text);
  const { byteLength } = bytes;
  if (byteLength >= 16_384) throw new WalletError('BAD_PHRASE', 'a junction of a path is longer than 16,383 bytes');
  const length = byteLength < 64 ? [byteLength << 2] : [((byteLength << 2) | 1) & 255, byteLength >> 6];
  return concatBytes(Uint8Array.from(length), bytes);
}
