/** @file Messages signed with a wallet's key, as Bittensor's programs and browser extensions sign them. */
import { verifySignature } from '../protocol/keys.ts';
import type { Hotkey } from '../protocol/names.ts';
import { decodeSs58 } from '../protocol/ss58.ts';
import { concatBytes, utf8 } from '../util/bytes.ts';

/** Scheme and form under which a signature holds; null if under none. Extensions wrap a message in `<Bytes>…</Bytes>`. */
export function verifyMessage(
  address: string,
  message: Uint8Array,
  signature: Uint8Array,
): { readonly scheme: 'sr25519' | 'ed25519'; readonly isWrapped: boolean } | null {
  if (decodeSs58(address) === null || signature.byteLength !== 64) return null;
  const wrapped = concatBytes(utf8('<Bytes>'), message, utf8('</Bytes>'));
  for (const scheme of ['sr25519', 'ed25519'] as const)
    for (const [bytes, isWrapped] of [
      [message, false],
      [wrapped, true],
    ] as const)
      if (verifySignature({ kind: 'hotkey', scheme, hotkey: address as Hotkey }, bytes, signature))
        return { scheme, isWrapped };
  return null;
}
