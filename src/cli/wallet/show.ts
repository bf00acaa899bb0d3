/** @file Does `accrete wallet show`: addresses; a mnemonic only into a file. */
import { UsageError } from '../../util/errors.ts';
import { WalletError } from '../../wallet/errors.ts';
import type { Handler } from '../command.ts';
import { readPassword } from '../prompt.ts';
import { walletFolderOf } from '../wallet-keys.ts';
import { noteOf } from './list.ts';
import { placeOf, requireFreePhraseFile, writePhrases } from './places.ts';

export const handle: Handler = async (settings, io) => {
  const wallets = walletFolderOf(settings);
  const all = await wallets.list();
  const wallet = all.find(({ name }) => name === settings.argument);
  if (wallet === undefined) {
    const there = all.map(({ name }) => name).join(', ') || 'none';
    throw new UsageError(`there is no wallet ${settings.argument} in ${wallets.root} (there: ${there})`);
  }
  if (settings.has('phrase-file')) {
    await requireFreePhraseFile(settings);
    const place = placeOf(settings);
    const { phrase, address } = await wallets.read(place, (path) => readPassword(settings, io, { what: path }));
    if (phrase === null) throw new WalletError('NO_SECRET', `${wallets.pathOf(place)} holds no mnemonic, only a key`);
    await writePhrases(settings, [phrase]);
    io.err(`the mnemonic of ${address} is in ${settings.path('phrase-file')}; keep it offline`);
  }
  if (settings.switch('json')) io.out(JSON.stringify(wallet));
  else
    for (const key of [...(wallet.coldkey === null ? [] : [wallet.coldkey]), ...wallet.hotkeys])
      io.out(`${key.name.padEnd(12)} ${key.address ?? '(address unknown)'} ${noteOf(key)}`.trimEnd());
  return 0;
};
