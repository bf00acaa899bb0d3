/** @file Declares `accrete snapshot`: the read API's answers as files. */
import type { CommandDeclaration } from '../command.ts';

export const snapshot: CommandDeclaration = {
  name: 'snapshot',
  description:
    "Write a run's read API as plain files, with the dashboard if that is built and the record that its page verifies (journal, ledger, newest releases): a folder that any web server can host. The run's folder is only read, and may be in use.",
  argument: { name: 'DIR', description: 'the folder of a run' },
  options: [
    {
      name: 'out',
      value: 'FOLDER',
      description: 'where the files go; older ones are replaced',
      default: '.accrete/site',
    },
    { name: 'merges', value: 'N', description: 'newest merges that have a file of their own', default: '500' },
    { name: 'claims', value: 'N', description: 'newest claims that have a file of their own', default: '2000' },
    { name: 'releases', value: 'N', description: 'newest releases whose files are copied', default: '1' },
  ],
  example: './bin/accrete snapshot .accrete/run --out .accrete/site',
  load: () => import('./handler.ts'),
};
