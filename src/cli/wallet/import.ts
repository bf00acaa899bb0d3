/** @file Does `accrete wallet import`. */
import { secretOfUri } from '../../wallet/phrase.ts';
import type { Handler } from '../command.ts';
import { askHidden, readPassword, readSecretFile } from '../prompt.ts';
import { walletFolderOf } from '../wallet-keys.ts';
import { placeOf } from './places.ts';

export const handle: Handler = async (settings, io) => {
  const place = placeOf(settings);
  const wallets = walletFolderOf(settings);
  const path = wallets.pathOf(place);
  const uri = settings.has('secret-file')
    ? await readSecretFile(settings.path('secret-file'), 'secret-file')
    : await askHidden(io, 'mnemonic or 0x seed: ', '--secret-file FILE');
  const secret = await secretOfUri(uri, settings.choice('scheme', ['sr25519', 'ed25519']));
  const isEncrypted = place.kind === 'coldkey' && !settings.switch('unencrypted');
  const password = isEncrypted ? await readPassword(settings, io, { what: path, isNew: true }) : null;
  const address = await wallets.write(place, secret, password);
  if (settings.switch('json')) io.out(JSON.stringify({ wallet: place.wallet, kind: place.kind, address, path }));
  else io.out(`${place.kind} ${address} ${path}${isEncrypted ? ' (encrypted)' : ''}`);
  return 0;
};
