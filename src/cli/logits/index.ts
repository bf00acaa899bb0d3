/** @file Declares `accrete logits`: what a checkpoint predicts after each token, for comparing engines. */
import type { CommandDeclaration } from '../command.ts';
import { deviceOption } from '../device.ts';
import { requiredCheckpointOptions } from '../model-options.ts';

export const logits: CommandDeclaration = {
  name: 'logits',
  description:
    'Log-probabilities of every token of the vocabulary after each of the given tokens, from the engine: one line a position. For comparing with other engines.',
  options: [
    ...requiredCheckpointOptions,
    { name: 'tokens', value: 'IDS', description: 'token ids, separated by commas', required: true },
    { name: 'threads', value: 'N', description: 'threads of the tensor engine; 0: all cores', default: '0' },
    deviceOption,
  ],
  example: './bin/accrete logits --checkpoint .accrete/run/releases/latest --tokens 1,2,3',
  load: () => import('./handler.ts'),
};
