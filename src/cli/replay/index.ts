/** @file Declares `accrete replay`: a miner redoes what he claimed. */
import { claimArgument } from '../claim-id.ts';
import type { CommandDeclaration } from '../command.ts';

export const replay: CommandDeclaration = {
  name: 'replay',
  description:
    "Redo the steps of one of this miner's claims from the states it kept, as a validator would, and say where they lead elsewhere. Exit 1 if they do.",
  argument: claimArgument,
  options: [
    { name: 'join', value: 'URL', description: 'where the orchestrator answers', default: 'http://127.0.0.1:4680' },
    {
      name: 'dir',
      value: 'DIR',
      description: 'folder of the miner (its states and shards)',
      default: '.accrete/miner',
    },
    { name: 'threads', value: 'N', description: 'threads of the tensor engine; as the miner had them', default: '1' },
  ],
  example: './bin/accrete replay 3f9c0a1b --dir .accrete/run/miner-1',
  load: () => import('./handler.ts'),
};
