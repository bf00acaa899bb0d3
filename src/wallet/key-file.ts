/** @file A key as Bittensor's wallets write it: JSON with public and secret parts, or the public parts alone. */
import { z } from 'zod';
import { type HotkeyScheme, type HotkeySigner, hotkeyFromSecret, hotkeyFromSeed } from '../protocol/keys.ts';
import type { Hotkey } from '../protocol/names.ts';
import { decodeSs58, encodeSs58 } from '../protocol/ss58.ts';
import { concatBytes, fromHex, toHex } from '../util/bytes.ts';
import { WalletError } from './errors.ts';
import type { Secret } from './phrase.ts';

const hex = (bytes: number) => z.string().regex(new RegExp(`^(0x)?[0-9a-fA-F]{${2 * bytes}}$`));
const keyFileSchema = z.looseObject({
  accountId: hex(32).nullish(),
  publicKey: hex(32).nullish(),
  privateKey: hex(64).nullish(),
  secretPhrase: z.string().max(1_000).nullish(),
  secretSeed: hex(32).nullish(),
  ss58Address: z.string().max(64),
  /** 0: ed25519, 1: sr25519; older files have none and are sr25519. */
  cryptoType: z.union([z.literal(0), z.literal(1)]).nullish(),
  crypto_type: z.union([z.literal(0), z.literal(1)]).nullish(),
});

export interface PublicKeyFile {
  readonly address: Hotkey;
}
export interface KeyFile extends PublicKeyFile {
  readonly scheme: HotkeyScheme;
  /** Null in a file of public parts. */
  readonly signer: HotkeySigner | null;
  readonly phrase: string | null;
}

export const signerOfSecret = ({ scheme, bytes }: Secret): HotkeySigner =>
  scheme === 'sr25519' ? hotkeyFromSecret(bytes) : hotkeyFromSeed(bytes, 'ed25519');

/** Reads either kind; the address must be that of the secret. @throws WalletError DAMAGED, which quotes nothing of it */
export function parseKeyFile(text: string, path: string): KeyFile {
  const damaged = (why: string) => new WalletError('DAMAGED', `${path} ${why}; restore it from a copy`);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw damaged('is no JSON');
  }
  const parsed = keyFileSchema.safeParse(json);
  if (!parsed.success) throw damaged(`is no key file (${parsed.error.issues[0]!.path.join('.') || 'not an object'})`);
  const { ss58Address, publicKey, accountId, secretPhrase, secretSeed, privateKey } = parsed.data;
  const account = decodeSs58(ss58Address);
  if (account === null) throw damaged('has an address with a wrong checksum or prefix');
  for (const stated of [publicKey, accountId])
    if (stated != null && toHex(account) !== bytesOf(stated, 'hex'))
      throw damaged('has an address and a public key that do not belong together');
  const address = ss58Address as Hotkey;
  const phrase = secretPhrase ?? null;
  const cryptoType = parsed.data.cryptoType ?? parsed.data.crypto_type;
  const schemes: readonly HotkeyScheme[] =
    cryptoType == null ? ['sr25519', 'ed25519'] : [cryptoType === 0 ? 'ed25519' : 'sr25519'];
  if (secretSeed == null && privateKey == null) return { address, scheme: schemes[0]!, signer: null, phrase };
  const secrets = { seed: secretSeed ?? null, secret: privateKey ?? null };
  for (const scheme of schemes)
    for (const signer of signersOf(scheme, secrets))
      if (signer.hotkey === address) return { address, scheme, signer, phrase };
  throw damaged('has an address and a secret that do not belong together');
}

/** Every signer that the secret parts can mean. */
function* signersOf(
  scheme: HotkeyScheme,
  { seed, secret }: { readonly seed: string | null; readonly secret: string | null },
): Generator<HotkeySigner> {
  if (seed !== null) yield hotkeyFromSeed(bytesOf(seed), scheme);
  if (secret === null) return;
  const bytes = bytesOf(secret);
  if (scheme === 'ed25519') {
    yield hotkeyFromSeed(bytes.subarray(0, 32), 'ed25519');
    return;
  }
  // schnorrkel writes its scalar plain or, as ed25519 does, times 8: the address tells which.
  for (const each of [bytes, concatBytes(timesEight(bytes.subarray(0, 32)), bytes.subarray(32))]) {
    try {
      yield hotkeyFromSecret(each);
    } catch {
      // No scalar in this reading.
    }
  }
}

function timesEight(scalar: Uint8Array): Uint8Array {
  const shifted = new Uint8Array(32);
  for (let i = 31; i >= 0; i--) shifted[i] = ((scalar[i]! << 3) | (i > 0 ? scalar[i - 1]! >> 5 : 0)) & 255;
  return shifted;
}

function bytesOf(text: string): Uint8Array;
function bytesOf(text: string, as: 'hex'): string;
function bytesOf(text: string, as?: 'hex'): Uint8Array | string {
  const plain = text.replace(/^0x/, '').toLowerCase();
  return as === 'hex' ? plain : fromHex(plain)!;
}

const publicParts = (address: Hotkey) => {
  const account = `0x${toHex(decodeSs58(address)!)}`;
  return { accountId: account, publicKey: account };
};

/** The JSON text with its secret. */
export function keyFileText(secret: Secret): string {
  const { hotkey } = signerOfSecret(secret);
  const account = decodeSs58(hotkey)!;
  const privateKey = secret.scheme === 'sr25519' ? secret.bytes : concatBytes(secret.bytes, account);
  return JSON.stringify({
    ...publicParts(hotkey),
    privateKey: `0x${toHex(privateKey)}`,
    ...(secret.phrase === null ? {} : { secretPhrase: secret.phrase }),
    ...(secret.seed === null ? {} : { secretSeed: `0x${toHex(secret.seed)}` }),
    ss58Address: encodeSs58(account),
    cryptoType: secret.scheme === 'sr25519' ? 1 : 0,
  });
}

export const publicKeyFileText = (address: Hotkey): string =>
  JSON.stringify({ ...publicParts(address), ss58Address: address });
