/** @file Does `accrete wallet verify`. */
import { decodeSs58 } from '../../protocol/ss58.ts';
import { fromHex } from '../../util/bytes.ts';
import { UsageError } from '../../util/errors.ts';
import { verifyMessage } from '../../wallet/messages.ts';
import type { Handler } from '../command.ts';
import { messageOf } from './places.ts';

export const handle: Handler = async (settings, io) => {
  const address = settings.argument ?? '';
  if (decodeSs58(address) === null)
    throw new UsageError(
      `'${address.slice(0, 60)}' is no SS58 address of Bittensor (prefix 42, checksum); copy it again`,
    );
  const [, hex] = /^(?:0x)?([0-9a-fA-F]{128})$/.exec(settings.text('signature')) ?? [];
  if (hex === undefined) throw new UsageError('--signature: expected 64 bytes as 128 hex digits, with or without 0x');
  const found = verifyMessage(address, await messageOf(settings), fromHex(hex.toLowerCase())!);
  if (settings.switch('json')) io.out(JSON.stringify({ isValid: found !== null, ...found }));
  else if (found === null) io.out(`the signature does not hold: another key, another message, or it was changed`);
  else io.out(`holds: ${found.scheme}${found.isWrapped ? ', wrapped in <Bytes>' : ''}`);
  return found === null ? 1 : 0;
};
