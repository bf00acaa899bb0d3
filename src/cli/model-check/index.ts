/** @file Declares `accrete model check`: this implementation against vectors of another one. */
import type { CommandDeclaration } from '../command.ts';
import { deviceOption } from '../device.ts';

export const modelCheck: CommandDeclaration = {
  name: 'model check',
  description:
    'Run one case of golden vectors (config, parameters, inputs, expected logits, loss and gradients) and print every error; exit 1 over the tolerances of its expected.json.',
  argument: { name: 'DIR', description: 'folder of one case' },
  options: [deviceOption],
  example: './bin/accrete model check tests/vectors/quasar_long/hybrid_short',
  load: () => import('./handler.ts'),
};
