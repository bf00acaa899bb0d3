/** @file Declares `accrete mine`: one miner that joins a running network. */
import type { CommandDeclaration } from '../command.ts';
import { deviceOption } from '../device.ts';
import { ledgerOptions } from '../ledger-options.ts';
import { signerOptions } from '../signer-options.ts';

export const mine: CommandDeclaration = {
  name: 'mine',
  description: 'Join a running network as a miner: train on leases, claim the work, be paid for what is accepted.',
  options: [
    {
      name: 'join',
      value: 'URL',
      description: 'where the orchestrator answers; of two syncers both, with a comma between',
      required: true,
    },
    { name: 'dir', value: 'DIR', description: 'folder of this miner (keys, state)', default: '.accrete/miner' },
    { name: 'name', value: 'NAME', description: "the learner's name under its hotkey", default: 'learner-1' },
    { name: 'threads', value: 'N', description: 'threads of the tensor engine; 0: all cores', default: '0' },
    { name: 'cache-gib', value: 'N', description: 'text that is kept on this machine, in GiB', default: '64' },
    deviceOption,
    ...ledgerOptions,
    ...signerOptions,
  ],
  example: './bin/accrete mine --join http://127.0.0.1:4680 --dir .accrete/my-miner',
  load: () => import('./handler.ts'),
};
