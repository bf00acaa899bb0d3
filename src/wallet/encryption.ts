/**
 * @file Encrypted key files of Bittensor's wallets: `$NACL`, a nonce of 24 bytes, and an XSalsa20-Poly1305 box of the JSON under an
 * Argon2i key of the password. Other encryptions are known by their beginning and refused by name.
 */
import { xsalsa20poly1305 } from '@noble/ciphers/salsa.js';
import { argon2i } from 'hash-wasm';
import { concatBytes, fromHex, utf8 } from '../util/bytes.ts';
import { WalletError } from './errors.ts';

const magic = utf8('$NACL');
const nonceBytes = 24;
const tagBytes = 16;
/** Fixed by the format: two implementations of it agree. */
const salt = fromHex('137183dff15a09bc9c90b5518739e9b1')!;
const minPasswordLength = 1;

export type Encryption = 'none' | 'nacl' | 'ansible' | 'fernet' | 'unknown';

export function encryptionOf(bytes: Uint8Array): Encryption {
  const text = new TextDecoder('latin1').decode(bytes.subarray(0, 64));
  if (text.startsWith('$NACL')) return 'nacl';
  if (text.startsWith('$ANSIBLE_VAULT')) return 'ansible';
  if (text.startsWith('gAAAAA')) return 'fernet';
  return /^\s*\{/.test(text) ? 'none' : 'unknown';
}

const refusals: Readonly<Record<'ansible' | 'fernet' | 'unknown', string>> = {
  ansible:
    'is encrypted with Ansible Vault (an old wallet); open it once with btcli, which writes it anew, and try again',
  fernet: 'is encrypted with Fernet (a legacy wallet); open it once with btcli, which writes it anew, and try again',
  unknown: 'is neither JSON nor $NACL; restore it from a copy, or import its mnemonic again',
};

/** @throws WalletError UNSUPPORTED_ENCRYPTION that names what it is */
export function requireReadable(bytes: Uint8Array, path: string): 'none' | 'nacl' {
  const encryption = encryptionOf(bytes);
  if (encryption === 'none' || encryption === 'nacl') return encryption;
  throw new WalletError('UNSUPPORTED_ENCRYPTION', `${path} ${refusals[encryption]}`);
}

/** Argon2i 1.3, 8 passes over 512 MiB: seconds of one core. */
export async function keyOfPassword(password: string): Promise<Uint8Array> {
  if (password.length < minPasswordLength) throw new WalletError('PASSWORD_NEEDED', 'the password is empty; give one');
  return argon2i({
    ...{ password: password.normalize(), salt, iterations: 8, memorySize: 524_288, parallelism: 1, hashLength: 32 },
    outputType: 'binary',
  });
}

export function sealWith(key: Uint8Array, nonce: Uint8Array, plain: Uint8Array): Uint8Array {
  return concatBytes(magic, nonce, xsalsa20poly1305(key, nonce).encrypt(plain));
}

/** @throws WalletError WRONG_PASSWORD: a wrong one and a changed file look the same */
export function openWith(key: Uint8Array, sealed: Uint8Array, path: string): Uint8Array {
  const nonce = sealed.subarray(magic.byteLength, magic.byteLength + nonceBytes);
  const box = sealed.subarray(magic.byteLength + nonceBytes);
  if (box.byteLength < tagBytes) throw new WalletError('DAMAGED', `${path} is cut short; restore it from a copy`);
  try {
    return xsalsa20poly1305(key, nonce).decrypt(box);
  } catch {
    throw new WalletError('WRONG_PASSWORD', `${path} does not open: the password is wrong, or the file was changed`);
  }
}
