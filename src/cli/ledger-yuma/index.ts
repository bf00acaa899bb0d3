/** @file Declares `accrete ledger yuma`: the ledger's consensus beside a file of vectors. */
import type { CommandDeclaration } from '../command.ts';

export const ledgerYuma: CommandDeclaration = {
  name: 'ledger yuma',
  description:
    'Run Yuma consensus on a file of vectors and print what deviates; exit code 1 if any is out of tolerance.',
  argument: { name: 'FILE', description: 'JSON in the format of tests/vectors/ledger/yuma.json' },
  options: [],
  example: './bin/accrete ledger yuma tests/vectors/ledger/yuma.json',
  load: () => import('./handler.ts'),
};
