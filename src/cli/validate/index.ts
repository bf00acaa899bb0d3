/** @file Declares `accrete validate`: one validator that joins a running network. */
import type { CommandDeclaration } from '../command.ts';
import { ledgerOptions } from '../ledger-options.ts';
import { signerOptions } from '../signer-options.ts';

export const validate: CommandDeclaration = {
  name: 'validate',
  description: 'Join a running network as a validator: check claims, sign verdicts, evaluate releases, set weights.',
  options: [
    {
      name: 'join',
      value: 'URL',
      description: 'where the orchestrator answers; of two syncers both, with a comma between',
      required: true,
    },
    { name: 'dir', value: 'DIR', description: 'folder of this validator (keys, state)', default: '.accrete/validator' },
    { name: 'name', value: 'NAME', description: "the validator's name under its hotkey", default: 'validator' },
    { name: 'threads', value: 'N', description: 'threads of the tensor engine; 0: all cores', default: '0' },
    { name: 'cache-gib', value: 'N', description: 'text that is kept on this machine, in GiB', default: '8' },
    ...ledgerOptions,
    ...signerOptions,
  ],
  example: './bin/accrete validate --join http://127.0.0.1:4680 --dir .accrete/my-validator',
  load: () => import('./handler.ts'),
};
