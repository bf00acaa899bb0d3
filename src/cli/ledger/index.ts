/** @file Declares `accrete ledger …`: the ledger of a running network, read and called. */
import type { CommandDeclaration, OptionDeclaration } from '../command.ts';
import { endpointOptions } from '../ledger-options.ts';
import { signerOptions } from '../signer-options.ts';

const join: OptionDeclaration = {
  name: 'join',
  value: 'URL',
  description: 'where the orchestrator answers',
  default: 'http://127.0.0.1:4680',
};
const netuid: OptionDeclaration = {
  name: 'netuid',
  value: 'N',
  description: 'subnet on Bittensor; of a running network, refuse another subnet than this one',
};
const network = [join, ...endpointOptions, netuid];
const signer: readonly OptionDeclaration[] = [
  { name: 'dir', value: 'DIR', description: 'folder of a role whose hotkey.json signs' },
  ...signerOptions,
  { name: 'yes', description: 'do it without asking' },
];

export const ledgerStatus: CommandDeclaration = {
  name: 'ledger status',
  description: 'Show the subnet: head, tempo, price of a registration, emission, rules; and the balance of an account.',
  options: [...network, { name: 'account', value: 'ADDRESS', description: 'SS58 address whose free balance is shown' }],
  example: './bin/accrete ledger status --join http://127.0.0.1:4680',
  load: () => import('./status.ts'),
};
export const ledgerMetagraph: CommandDeclaration = {
  name: 'ledger metagraph',
  description: 'List all neurons: stake, permit, incentive, dividends, trust, pay, axon.',
  options: network,
  example: './bin/accrete ledger metagraph',
  load: () => import('./metagraph.ts'),
};
export const ledgerRegister: CommandDeclaration = {
  name: 'ledger register',
  description:
    'Register a hotkey: shows the price, asks, and pays it from the signing account. Of a wallet, the coldkey signs.',
  options: [...network, ...signer],
  example: './bin/accrete ledger register --dir .accrete/miner --yes',
  load: () => import('./register.ts'),
};
export const ledgerStake: CommandDeclaration = {
  name: 'ledger stake',
  description: 'Put stake on a hotkey, or take it back.',
  options: [
    ...network,
    { name: 'amount', value: 'TAO', description: 'TAO with up to 9 decimals (1 TAO is 10⁹ rao)', required: true },
    { name: 'remove', description: 'take it back to the coldkey instead' },
    ...signer,
  ],
  example: './bin/accrete ledger stake --dir .accrete/validator --amount 10 --yes',
  load: () => import('./stake.ts'),
};
export const ledgerWeights: CommandDeclaration = {
  name: 'ledger weights',
  description: "Show the weights that validators set, as u16 by uid; with --set, set this hotkey's own.",
  options: [
    ...network,
    { name: 'of', value: 'HOTKEY', description: 'show only the row of this hotkey' },
    { name: 'set', value: 'PAIRS', description: 'relative weights by uid, as 3=1,4=0.5' },
    { name: 'version-key', value: 'N', description: "version key of plain weights; the subnet's if left out" },
    { name: 'reveal', description: 'reveal weights that were committed to, if their epoch has come' },
    ...signer,
  ],
  example: './bin/accrete ledger weights',
  load: () => import('./weights.ts'),
};
export const ledgerAnchors: CommandDeclaration = {
  name: 'ledger anchors',
  description: 'List what hotkeys committed to on the ledger, block by block: tree heads are among them.',
  options: [
    ...network,
    { name: 'of', value: 'HOTKEY', description: 'show only those of this hotkey' },
    { name: 'last', value: 'N', description: 'newest ones that are listed; 0: all', default: '20' },
  ],
  example: './bin/accrete ledger anchors --last 5',
  load: () => import('./anchors.ts'),
};
export const ledgerYuma: CommandDeclaration = {
  name: 'ledger yuma',
  description:
    'Run Yuma consensus on a file of vectors and print what deviates; exit code 1 if any is out of tolerance.',
  argument: { name: 'FILE', description: 'JSON in the format of tests/vectors/ledger/yuma.json' },
  options: [],
  example: './bin/accrete ledger yuma tests/vectors/ledger/yuma.json',
  load: () => import('./yuma.ts'),
};
