/** @file Declares `accrete explain`: why a hotkey is paid what it is. */
import type { CommandDeclaration } from '../command.ts';
import { ledgerOptions } from '../ledger-options.ts';

export const explain: CommandDeclaration = {
  name: 'explain',
  description: 'Explain a hotkey: every claim with its verdicts and numbers, audits, tempos, score, weight and pay.',
  argument: {
    name: 'HOTKEY',
    description: 'SS58 address, or the name of a learner or validator of the run, e.g. miner-1',
  },
  options: [
    { name: 'join', value: 'URL', description: 'where the orchestrator answers', default: 'http://127.0.0.1:4680' },
    { name: 'last', value: 'N', description: 'newest claims that are listed; 0: all', default: '20' },
    { name: 'refused', description: 'list only claims that were refused or voided' },
    ...ledgerOptions,
  ],
  example: './bin/accrete explain miner-1',
  load: () => import('./handler.ts'),
};
