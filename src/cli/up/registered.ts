/** @file Before a network starts on Bittensor: its hotkeys must be there and registered, for nothing is paid without being asked. */
import type { Ledger } from '../../ledger/port.ts';
import { UsageError } from '../../util/errors.ts';
import { openBittensor } from '../chosen-ledger.ts';
import type { Settings } from '../settings.ts';
import { walletFolderOf } from '../wallet-keys.ts';
import type { UpOptions } from './options.ts';

/** @throws UsageError naming those that are not; WalletError; LedgerError */
export async function requireRegistered(options: UpOptions, settings: Settings): Promise<void> {
  const { ledger: choice, wallet } = options;
  if (choice.kind === 'embedded' || wallet === null) return;
  const names = hotkeyNames(options);
  const wallets = walletFolderOf(settings);
  const addresses = new Map<string, string>();
  for (const hotkey of names) addresses.set(hotkey, await wallets.address({ wallet, kind: 'hotkey', hotkey }));
  const ledger = await openBittensor(choice);
  const missing = await missingOf(ledger, addresses).finally(() => ledger.close());
  if (missing.length === 0) return;
  throw new UsageError(
    `HotKeyNotRegisteredInSubNet: of wallet ${wallet}, ${missing.join(', ')} ${missing.length === 1 ? 'is' : 'are'} not registered on subnet ${choice.netuid}; ` +
      `type for each: accrete ledger register --ledger bittensor --endpoint ${choice.urls[0]} --netuid ${choice.netuid} --wallet ${wallet} --hotkey NAME`,
  );
}

const hotkeyNames = ({ miners, validators }: UpOptions): readonly string[] => [
  'syncer',
  ...Array.from({ length: miners }, (_, i) => `miner-${i + 1}`),
  ...Array.from({ length: validators }, (_, i) => `validator-${i + 1}`),
];

async function missingOf(ledger: Ledger, addresses: ReadonlyMap<string, string>): Promise<readonly string[]> {
  const registered = new Set<string>((await ledger.metagraph()).map(({ hotkey }) => hotkey));
  return [...addresses].flatMap(([name, address]) => (registered.has(address) ? [] : [name]));
}
