/** @file Declares `accrete generate`: continues a prompt from a checkpoint. */
import type { CommandDeclaration } from '../command.ts';
import { deviceOption } from '../device.ts';

export const generate: CommandDeclaration = {
  name: 'generate',
  description: 'Continue a prompt from a checkpoint folder (config.json, model.safetensors, tokenizer.json).',
  options: [
    { name: 'checkpoint', value: 'DIR', description: 'folder of the checkpoint', required: true },
    { name: 'prompt', value: 'TEXT', description: 'text to continue; - reads it from standard input', required: true },
    { name: 'max-tokens', value: 'N', description: 'tokens to add at most', default: '100' },
    {
      name: 'temperature',
      value: 'X',
      description: 'sampling temperature; 0: always the likeliest token',
      default: '0.8',
    },
    { name: 'top-k', value: 'K', description: 'sample among the K likeliest tokens; 0: among all', default: '40' },
    {
      name: 'top-p',
      value: 'P',
      description: 'sample among the likeliest tokens whose probabilities reach this sum; 1: all',
      default: '1',
    },
    {
      name: 'repetition-penalty',
      value: 'X',
      description: 'divides the scores of tokens that came before; 1: none',
      default: '1',
    },
    { name: 'stop', value: 'TEXT', description: 'ends before this text; several as a JSON list of strings' },
    { name: 'seed', value: 'S', description: 'whole number that the sampling follows from', default: '0' },
    { name: 'threads', value: 'N', description: 'threads of the tensor engine; 0: all cores', default: '0' },
    deviceOption,
  ],
  example: './bin/accrete generate --checkpoint .accrete/run/releases/latest --prompt "The people of"',
  load: () => import('./handler.ts'),
};
