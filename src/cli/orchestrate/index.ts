/** @file Declares `accrete orchestrate`: the syncer alone. */
import { busOptions } from '../bus-options.ts';
import type { CommandDeclaration } from '../command.ts';
import { indexOption } from '../index-option.ts';
import { ledgerOptions } from '../ledger-options.ts';
import { publishOptions } from '../publish/declarations.ts';
import { newRunOptions, runFileOptions } from '../recipe-declarations.ts';
import { signerOptions } from '../signer-options.ts';
import { storeOptions } from '../store-options.ts';

export const orchestrate: CommandDeclaration = {
  name: 'orchestrate',
  description:
    'Run the orchestrator alone: journal, store, ledger, bus and syncer of one run, served over HTTP. A folder without a run gets a new one.',
  options: [
    {
      name: 'preset',
      value: 'NAME',
      description: 'model preset of a new run',
      default: 'nano',
      choices: ['tiny', 'nano', 'nano-gguf', 'small'],
    },
    { name: 'dir', value: 'DIR', description: 'folder of the run', default: '.accrete/run' },
    {
      name: 'data',
      value: 'DIR',
      description: "train a new run on this data folder (accrete data prepare) instead of the clone's own text",
    },
    {
      name: 'host',
      value: 'HOST',
      description: 'address to listen on; 0.0.0.0 lets other machines join',
      default: '127.0.0.1',
    },
    { name: 'port', value: 'PORT', description: 'TCP port to listen on', default: '4680' },
    {
      name: 'seed',
      value: 'S',
      description: 'whole number that initialisation and data order follow from',
      default: '0',
    },
    {
      name: 'miners',
      value: 'N',
      description: 'miners that a new run is laid out for (quorum, deadlines)',
      default: '3',
    },
    {
      name: 'requests',
      value: 'N',
      description: 'requests a minute that the read API answers one address; behind a proxy all clients have one',
      default: '1200',
    },
    ...storeOptions,
    indexOption,
    {
      name: 'shared',
      value: 'PLACE',
      description:
        'folder (e.g. on NFS) or s3://bucket/prefix?endpoint=URL&region=NAME that two orchestrators of one run can write to: one of them leads, the other follows and takes over; each has a --dir of its own. A bucket holds the artifacts too, unless --store says otherwise',
    },
    { name: 'as', value: 'NAME', description: 'with --shared: name of this syncer in the run', default: 'syncer' },
    {
      name: 'silence',
      value: 'SECONDS',
      description:
        'with --shared: silence of the leader after which this one takes over; longer than it may ever stall',
      default: '3',
    },
    ...ledgerOptions,
    ...busOptions,
    ...signerOptions,
    ...publishOptions,
    ...runFileOptions,
    ...newRunOptions,
  ],
  example: './bin/accrete orchestrate --dir .accrete/run --port 4680',
  load: () => import('./handler.ts'),
};
