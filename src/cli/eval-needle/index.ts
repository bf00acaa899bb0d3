/** @file Declares `accrete eval needle`: does a checkpoint recall a word from far back? */
import type { CommandDeclaration } from '../command.ts';
import { deviceOption } from '../device.ts';

export const evalNeedle: CommandDeclaration = {
  name: 'eval needle',
  description:
    'Hide a word in filler text and ask a checkpoint for it at the end: how often it scores highest of all words of the test, by length and depth.',
  options: [
    { name: 'checkpoint', value: 'DIR', description: 'folder of the checkpoint', required: true },
    {
      name: 'lengths',
      value: 'LIST',
      description: 'tokens of a whole prompt, separated by commas; up to 1048576, read in blocks of bounded memory',
      default: '256,512,1024,2048',
    },
    {
      name: 'depths',
      value: 'LIST',
      description: 'where the word is hidden, 0 (start) to 1 (end), separated by commas',
      default: '0,0.25,0.5,0.75,1',
    },
    { name: 'samples', value: 'N', description: 'prompts of each length and depth', default: '5' },
    { name: 'seed', value: 'S', description: 'whole number that words and filler text follow from', default: '0' },
    { name: 'threads', value: 'N', description: 'threads of the tensor engine; 0: all cores', default: '0' },
    deviceOption,
  ],
  example: './bin/accrete eval needle --checkpoint .accrete/run/releases/latest --lengths 256,1024',
  load: () => import('./handler.ts'),
};
