/** @file Does `accrete wallet list`. */
import type { ListedKey } from '../../wallet/folder.ts';
import type { Handler } from '../command.ts';
import { formatTable } from '../table.ts';
import { walletFolderOf } from '../wallet-keys.ts';

export const handle: Handler = async (settings, io) => {
  const folder = walletFolderOf(settings);
  const wallets = await folder.list();
  if (settings.switch('json')) {
    for (const wallet of wallets) io.out(JSON.stringify(wallet));
    return 0;
  }
  if (wallets.length === 0) {
    io.out(`no wallets in ${folder.root}; make one with accrete wallet new NAME`);
    return 0;
  }
  const rows = wallets.flatMap(({ name, coldkey, hotkeys }) => [
    [name, 'coldkey', coldkey?.address ?? '', coldkey === null ? 'not there' : noteOf(coldkey)],
    ...hotkeys.map((key) => ['', key.name, key.address ?? '', noteOf(key)]),
  ]);
  for (const line of formatTable(['wallet', 'key', 'address', ''], rows)) io.out(line);
  return 0;
};

export function noteOf({ isEncrypted, hasSecret, fault }: ListedKey): string {
  if (fault !== null) return fault;
  return hasSecret ? (isEncrypted ? 'encrypted' : '') : 'public part only';
}
