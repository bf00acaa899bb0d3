/** @file Options that say who signs; declarations only, so that help stays quick. */
import type { OptionDeclaration } from './command.ts';

export const passwordFileOption: OptionDeclaration = {
  name: 'password-file',
  value: 'FILE',
  description:
    'file whose first line is the password (mode 0600); without it the terminal asks. Never give a password itself',
};

export const walletDirOption: OptionDeclaration = {
  name: 'wallet-dir',
  value: 'DIR',
  description: 'folder of wallets; ~/.bittensor/wallets if left out',
};
export const hotkeyOption: OptionDeclaration = {
  name: 'hotkey',
  value: 'NAME',
  description: "name of the wallet's hotkey",
  default: 'default',
};

/** What a role or a call signs with. */
export const signerOptions: readonly OptionDeclaration[] = [
  { name: 'wallet', value: 'NAME', description: 'sign with this Bittensor wallet instead of the key file in --dir' },
  hotkeyOption,
  walletDirOption,
  passwordFileOption,
];
