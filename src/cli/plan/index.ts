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
      description: 'a manifest as JSON, or a preset: tiny, nano, nano-gguf, small, quasar-preview',
      default: 'quasar-preview',
    },
    { name: 'fleet', value: 'FLEET', description: 'a fleet by name or by its JSON file' },
    { name: 'out', value: 'FILE', description: 'the plan as JSON, for the dashboard too' },
  ],
  example: './bin/accrete plan --manifest quasar-preview --fleet bench/fleets/datacentres.json',
  load: () => import('./handler.ts'),
};
