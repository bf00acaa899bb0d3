/** @file Declares `accrete pull`: fetches a release of a run, or a checkpoint of the Hugging Face Hub. */
import type { CommandDeclaration } from '../command.ts';

export const pull: CommandDeclaration = {
  name: 'pull',
  description:
    "Fetch a release of a run, every piece checked against the run's signed record, or a repository of the Hugging Face Hub (HF_ENDPOINT, HF_TOKEN), every file checked against the hub's hashes. Several pieces at a time; a stopped pull goes on with what is missing; the folder appears when it is whole.",
  argument: { name: 'URL|REPO', description: "a run's URL, or owner/name (also hf://owner/name)" },
  options: [
    { name: 'out', value: 'DIR', description: 'folder to make; .accrete/pulled/NAME in this clone otherwise' },
    {
      name: 'release',
      value: 'N',
      description: 'which release; the newest otherwise. Of a repository: its revision release-N',
    },
    { name: 'revision', value: 'REV', description: 'branch, tag or commit of a repository', default: 'main' },
    { name: 'all', description: "all of a repository's files, also other formats and folders" },
    { name: 'parallel', value: 'N', description: 'pieces that are fetched at a time', default: '4' },
  ],
  example: './bin/accrete pull http://127.0.0.1:4680 --out release',
  load: () => import('./handler.ts'),
};
