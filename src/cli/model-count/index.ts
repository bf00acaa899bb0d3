/** @file Declares `accrete model count`: parameters of a config, without allocating them. */
import type { CommandDeclaration } from '../command.ts';

export const modelCount: CommandDeclaration = {
  name: 'model count',
  description: 'Print the total and the active parameters of a model, without allocating them.',
  options: [
    { name: 'config', value: 'FILE', description: 'a config.json of a quasar_long model' },
    {
      name: 'preset',
      value: 'NAME',
      description: 'a preset instead of a file',
      choices: ['tiny', 'nano', 'small', 'quasar-preview'],
    },
  ],
  example: './bin/accrete model count --preset quasar-preview',
  load: () => import('./handler.ts'),
};
