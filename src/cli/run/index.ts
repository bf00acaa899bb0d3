/** @file Declares `accrete run …`: what a run owner writes, reads, compares and amends. */
import type { CommandDeclaration } from '../command.ts';
import { ledgerOptions } from '../ledger-options.ts';
import { signerOptions } from '../signer-options.ts';

const place = 'a run file, the folder of a run, or the URL of one that goes on';

export const runInit: CommandDeclaration = {
  name: 'run init',
  description:
    'Write a run file from a template, to be edited: phases, recipe, rules. Checks every field and shows what the run comes to. `accrete orchestrate --manifest FILE` signs the manifest that it gives and starts the run.',
  options: [
    {
      name: 'template',
      value: 'NAME',
      description:
        'demo: three phases in minutes on one machine; quasar-10t: ten trillion tokens in two phases and a long-context stage',
      default: 'demo',
      choices: ['demo', 'quasar-10t'],
    },
    { name: 'out', value: 'FILE', description: 'new file; a folder gets run.json', default: 'run.json' },
    { name: 'name', value: 'NAME', description: "name of the run, instead of the template's" },
    {
      name: 'seed',
      value: 'S',
      description: "what initialisation and data order follow from, instead of the template's",
    },
    {
      name: 'from',
      value: 'PLACE',
      description: 'checkpoint to start from: a folder in Hugging Face layout, or hf://owner/name[@revision]',
    },
  ],
  example: './bin/accrete run init --template demo --out .accrete/demo.json',
  load: () => import('./init.ts'),
};
export const runShow: CommandDeclaration = {
  name: 'run show',
  description:
    'Say what a run comes to: tokens, steps, fragments, bytes, the curves of its schedules; of one that goes on, its phase, gates and amendments.',
  argument: { name: 'RUN', description: place },
  options: [],
  example: './bin/accrete run show .accrete/demo.json',
  load: () => import('./show.ts'),
};
export const runDiff: CommandDeclaration = {
  name: 'run diff',
  description: 'Compare two runs, field by field, and say of each difference whether an amendment could make it.',
  argument: { name: 'A', description: place },
  secondArgument: { name: 'B', description: place },
  options: [],
  example: './bin/accrete run diff .accrete/run .accrete/demo.json',
  load: () => import('./diff.ts'),
};
export const runAmend: CommandDeclaration = {
  name: 'run amend',
  description:
    "Amend a run that goes on: what differs between its manifest and the run file is signed by the owner's hotkey and takes effect at a future outer step. What may not be amended is refused, with the reason.",
  argument: { name: 'FILE', description: 'run file as the run shall be' },
  options: [
    { name: 'join', value: 'URL', description: 'the run', required: true },
    {
      name: 'at',
      value: 'N',
      description: 'outer step from which it holds; the next but one that is opened if left out',
    },
    { name: 'reason', value: 'TEXT', description: 'why, for the record', required: true },
    { name: 'dry-run', description: 'show what would be signed, and sign nothing' },
    { name: 'dir', value: 'DIR', description: "folder of the owner's keys", default: '.accrete/run/syncer' },
    ...signerOptions,
    ...ledgerOptions,
  ],
  example: './bin/accrete run amend .accrete/demo.json --join http://127.0.0.1:4680 --reason "longer" --dry-run',
  load: () => import('./amend.ts'),
};
