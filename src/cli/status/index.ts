/** @file Declares `accrete status`: what a running network does now. */
import type { CommandDeclaration } from '../command.ts';

export const status: CommandDeclaration = {
  name: 'status',
  description: 'Show a running network: progress, processes with their memory, learners, fragments, releases, ledger.',
  options: [
    { name: 'url', value: 'URL', description: 'where the orchestrator answers', default: 'http://127.0.0.1:4680' },
  ],
  example: './bin/accrete status --url http://127.0.0.1:4680',
  load: () => import('./handler.ts'),
};
