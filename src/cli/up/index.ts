/** @file Declares `accrete up`: a whole network on this machine. */
import { busOptions } from '../bus-options.ts';
import type { CommandDeclaration } from '../command.ts';
import { indexOption } from '../index-option.ts';
import { ledgerOptions } from '../ledger-options.ts';
import { publishOptions } from '../publish/declarations.ts';
import { newRunOptions, runFileOptions } from '../recipe-declarations.ts';
import { passwordFileOption, walletDirOption } from '../signer-options.ts';
import { storeOptions } from '../store-options.ts';

export const up: CommandDeclaration = {
  name: 'up',
  description:
    'Start a whole network on this machine (a syncer, miners and validators, each its own process), train, and end with a summary. Started again in the same folder, it resumes the run.',
  options: [
    {
      name: 'preset',
      value: 'NAME',
      description: 'model preset',
      default: 'nano',
      choices: ['tiny', 'nano', 'nano-gguf', 'small'],
    },
    { name: 'miners', value: 'N', description: 'number of miners', default: '3' },
    { name: 'validators', value: 'N', description: 'number of validators', default: '2' },
    {
      name: 'syncers',
      value: 'N',
      description: 'number of syncers, 1 or 2; of two one leads, and the other takes over when it is gone',
      default: '1',
    },
    { name: 'dir', value: 'DIR', description: 'folder of the run', default: '.accrete/run' },
    {
      name: 'data',
      value: 'DIR',
      description: "train a new run on this data folder (accrete data prepare) instead of the clone's own text",
    },
    {
      name: 'port',
      value: 'PORT',
      description: 'TCP port of the orchestrator, on 127.0.0.1; a second syncer has the next one',
      default: '4680',
    },
    {
      name: 'seed',
      value: 'S',
      description: 'whole number that initialisation and data order follow from',
      default: '0',
    },
    {
      name: 'tokens',
      value: 'N',
      description: 'end once this many tokens are counted in all; 0: no such end',
      default: '0',
    },
    {
      name: 'minutes',
      value: 'N',
      description: 'end this many minutes after the first inner step; 0: no such end',
      default: '10',
    },
    ...storeOptions,
    indexOption,
    ...ledgerOptions,
    ...busOptions,
    {
      name: 'wallet',
      value: 'NAME',
      description:
        'Bittensor wallet whose hotkeys syncer, miner-1, …, validator-1, … work instead of keys of the folder',
    },
    walletDirOption,
    passwordFileOption,
    ...publishOptions,
    ...runFileOptions,
    ...newRunOptions,
  ],
  example: './bin/accrete up --preset tiny --miners 2 --validators 1 --minutes 1 --dir .accrete/first',
  load: () => import('./handler.ts'),
};
