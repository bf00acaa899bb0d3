/** @file Declares `accrete model count`: parameters of a config, without allocating them. */
import type { CommandDeclaration } from '../command.ts';

export const modelCount: CommandDeclaration = {
  name: 'model count',
  description: 'Print the parameters of a model, and its memory at a context length, without allocating them.',
  options: [
    { name: 'config', value: 'FILE', description: 'a config.json of a quasar_long model' },
    {
      name: 'preset',
      value: 'NAME',
      description: 'a preset instead of a file',
      choices: ['tiny', 'nano', 'nano-gguf', 'small', 'quasar-preview'],
    },
    { name: 'context', value: 'T', description: 'tokens of context: prints the memory of one sequence' },
  ],
  example: './bin/accrete model count --preset quasar-preview --context 131072',
  load: () => import('./handler.ts'),
};
