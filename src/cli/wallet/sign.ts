/** @file Does `accrete wallet sign`. */
import { toHex } from '../../util/bytes.ts';
import type { Handler } from '../command.ts';
import { walletSigner } from '../wallet-keys.ts';
import { messageOf, placeOf } from './places.ts';

export const handle: Handler = async (settings, io) => {
  const message = await messageOf(settings);
  const { hotkey, scheme, sign } = await walletSigner(settings, io, placeOf(settings));
  const signature = `0x${toHex(sign(message))}`;
  io.out(settings.switch('json') ? JSON.stringify({ address: hotkey, scheme, signature }) : signature);
  return 0;
};
