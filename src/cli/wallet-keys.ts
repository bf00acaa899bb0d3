/** @file Which key signs: a hotkey or coldkey of a Bittensor wallet, or the key file of a role's folder. */
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { HotkeySigner } from '../protocol/keys.ts';
import { UsageError } from '../util/errors.ts';
import { type KeyPlace, WalletFolder } from '../wallet/folder.ts';
import type { Io } from './io.ts';
import { openKeys, openSessionKey, type RoleKeys } from './keys.ts';
import { readPassword } from './prompt.ts';
import type { Settings } from './settings.ts';

export const walletFolderOf = (settings: Settings): WalletFolder =>
  new WalletFolder(settings.has('wallet-dir') ? settings.path('wallet-dir') : join(homedir(), '.bittensor', 'wallets'));

/** The key of a wallet; asks for its password if it is encrypted. @throws WalletError */
export async function walletSigner(settings: Settings, io: Io, place: KeyPlace): Promise<HotkeySigner> {
  const wallets = walletFolderOf(settings);
  const key = await wallets.read(place, (path) => readPassword(settings, io, { what: path }));
  if (key.signer !== null) return key.signer;
  throw new UsageError(`${wallets.pathOf(place)} holds no secret; use the machine that has it, or import the mnemonic`);
}

/** A role's keys: the wallet's hotkey if one is named, else the folder's; the session key is the folder's always. */
export async function openRoleKeys(dir: string, settings: Settings, io: Io): Promise<RoleKeys> {
  if (!settings.has('wallet')) return openKeys(dir);
  const place = { wallet: settings.text('wallet'), kind: 'hotkey', hotkey: settings.text('hotkey') } as const;
  return { hotkey: await walletSigner(settings, io, place), session: openSessionKey(dir) };
}

/** Signs ledger calls: the wallet's coldkey or hotkey, or the hotkey of a role's folder, which must be there. */
export async function ledgerSignerOf(settings: Settings, io: Io, kind: 'coldkey' | 'hotkey'): Promise<HotkeySigner> {
  if (settings.has('wallet')) {
    const wallet = settings.text('wallet');
    const place: KeyPlace = kind === 'coldkey' ? { wallet, kind } : { wallet, kind, hotkey: settings.text('hotkey') };
    return walletSigner(settings, io, place);
  }
  if (!settings.has('dir')) throw new UsageError('who signs? give --wallet NAME, or --dir with the folder of a role');
  const dir = settings.path('dir');
  if (!existsSync(join(dir, 'hotkey.json')))
    throw new UsageError(`--dir: there is no hotkey.json in ${dir}; give the folder of a miner, validator or syncer`);
  return openKeys(dir).hotkey;
}
