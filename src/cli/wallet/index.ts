/** @file Declares `accrete wallet …`: Bittensor's wallets, made, read and used. Nothing secret is ever printed. */
import type { CommandDeclaration, OptionDeclaration } from '../command.ts';
import { ledgerOptions } from '../ledger-options.ts';
import { hotkeyOption, passwordFileOption, walletDirOption } from '../signer-options.ts';

const wallet = { name: 'NAME', description: 'name of the wallet' };
const scheme: OptionDeclaration = {
  name: 'scheme',
  value: 'NAME',
  description: 'kind of key',
  default: 'sr25519',
  choices: ['sr25519', 'ed25519'],
};
const unencrypted: OptionDeclaration = { name: 'unencrypted', description: 'leave the coldkey unencrypted' };
const key: OptionDeclaration = {
  name: 'key',
  value: 'KIND',
  description: 'which key of the wallet',
  default: 'hotkey',
  choices: ['coldkey', 'hotkey'],
};
const phraseFile: OptionDeclaration = {
  name: 'phrase-file',
  value: 'FILE',
  description: 'new file of mode 0600 that the mnemonic is written to',
};
const message: readonly OptionDeclaration[] = [
  { name: 'message', value: 'TEXT', description: 'the message' },
  { name: 'message-file', value: 'FILE', description: 'file that is the message, byte for byte' },
];

export const walletNew: CommandDeclaration = {
  name: 'wallet new',
  description: 'Make a wallet: an encrypted coldkey and a hotkey; of a wallet that is there, one more hotkey.',
  argument: wallet,
  options: [
    hotkeyOption,
    { name: 'words', value: 'N', description: 'words of each mnemonic', default: '12', choices: ['12', '24'] },
    scheme,
    unencrypted,
    { ...phraseFile, description: 'new file of mode 0600 that the mnemonics are written to; keep it offline' },
    walletDirOption,
    passwordFileOption,
  ],
  example: './bin/accrete wallet new mine --unencrypted --wallet-dir .accrete/wallets',
  load: () => import('./new.ts'),
};
export const walletList: CommandDeclaration = {
  name: 'wallet list',
  description: 'List wallets with their addresses.',
  options: [walletDirOption],
  example: './bin/accrete wallet list',
  load: () => import('./list.ts'),
};
export const walletImport: CommandDeclaration = {
  name: 'wallet import',
  description: 'Make a key of a wallet from its mnemonic or seed, with //hard and /soft paths.',
  argument: wallet,
  options: [
    key,
    hotkeyOption,
    {
      name: 'secret-file',
      value: 'FILE',
      description: 'file (mode 0600) with the words or 0x seed; else the terminal asks',
    },
    scheme,
    unencrypted,
    walletDirOption,
    passwordFileOption,
  ],
  example: './bin/accrete wallet import mine --key hotkey --hotkey rig --secret-file phrase.txt',
  load: () => import('./import.ts'),
};
export const walletShow: CommandDeclaration = {
  name: 'wallet show',
  description: 'Show addresses of a wallet; with --phrase-file write the mnemonic of a key to a file.',
  argument: wallet,
  options: [key, hotkeyOption, phraseFile, walletDirOption, passwordFileOption],
  example: './bin/accrete wallet show mine',
  load: () => import('./show.ts'),
};
export const walletSign: CommandDeclaration = {
  name: 'wallet sign',
  description: 'Sign a message with a key of a wallet; prints the signature as hex.',
  argument: wallet,
  options: [key, hotkeyOption, ...message, walletDirOption, passwordFileOption],
  example: './bin/accrete wallet sign mine --message hello',
  load: () => import('./sign.ts'),
};
export const walletVerify: CommandDeclaration = {
  name: 'wallet verify',
  description:
    'Check a signature over a message, plain or wrapped by a browser extension; exit code 1 if it does not hold.',
  argument: { name: 'ADDRESS', description: 'SS58 address of the signer' },
  options: [{ name: 'signature', value: 'HEX', description: '64 bytes as hex', required: true }, ...message],
  example: './bin/accrete wallet verify 5F… --message hello --signature 0x…',
  load: () => import('./verify.ts'),
};
export const walletDelegate: CommandDeclaration = {
  name: 'wallet delegate',
  description:
    'Let a session key mine for a hotkey: registers the hotkey, delegates, and leaves a folder for accrete mine without the hotkey in it.',
  argument: wallet,
  options: [
    { name: 'join', value: 'URL', description: 'where the orchestrator answers', required: true },
    { name: 'dir', value: 'DIR', description: 'folder of the miner, with its session key', required: true },
    { name: 'name', value: 'NAME', description: "the learner's name under its hotkey", default: 'learner-1' },
    ...ledgerOptions,
    hotkeyOption,
    walletDirOption,
    passwordFileOption,
  ],
  example: './bin/accrete wallet delegate mine --join http://127.0.0.1:4680 --dir .accrete/rig',
  load: () => import('./delegate.ts'),
};
