/** @file Declares `accrete appeal`: a miner asks all validators about his refused claim. */
import { claimArgument } from '../claim-id.ts';
import type { CommandDeclaration } from '../command.ts';

export const appeal: CommandDeclaration = {
  name: 'appeal',
  description:
    'Ask all validators about a refused claim of this miner (within ten minutes, one at a time): most of their stake decides. Exit 1 if the claim stays refused.',
  argument: claimArgument,
  options: [
    { name: 'join', value: 'URL', description: 'where the orchestrator answers', required: true },
    {
      name: 'dir',
      value: 'DIR',
      description: 'folder of the miner whose claim it is (its keys)',
      default: '.accrete/miner',
    },
    { name: 'wait', value: 'S', description: 'seconds to wait for the ruling; 0: not at all', default: '60' },
  ],
  example: './bin/accrete appeal 3f9c0a1b --join http://127.0.0.1:4680 --dir .accrete/my-miner',
  load: () => import('./handler.ts'),
};
