/** @file Declares `accrete plan`: what a fleet makes of a run, before anybody pays for it. */
import type { CommandDeclaration } from '../command.ts';

export const plan: CommandDeclaration = {
  name: 'plan',
  description:
    'Say how long a fleet needs for a run, what it moves and keeps, what limits it, and what would change it most (docs/simulate.md).',
  options: [
    {
      name: 'manifest',
      value: 'M',
      description:
        'a template (quasar-10t, demo), a run file, a manifest as JSON, the folder or URL of a run; or a preset, which the fleet lays out by its `run`: tiny, nano, nano-gguf, small, quasar-preview',
      default: 'quasar-10t',
    },
    { name: 'fleet', value: 'FLEET', description: 'a fleet by name or by its JSON file' },
    { name: 'out', value: 'FILE', description: 'the plan as JSON, for the dashboard too' },
  ],
  example: './bin/accrete plan --manifest quasar-10t --fleet bench/fleets/datacentres.json',
  load: () => import('./handler.ts'),
};
