/** @file Declares `accrete doctor`: what is installed, what is missing, what to type. */
import type { CommandDeclaration } from '../command.ts';

export const doctor: CommandDeclaration = {
  name: 'doctor',
  description:
    'Check this machine and installation: Node, packages, tensor engine, WebGPU, text corpus, port, disk, memory; say what to type where something is missing.',
  options: [
    { name: 'dir', value: 'DIR', description: 'folder whose disk is checked', default: '.accrete/run' },
    { name: 'port', value: 'PORT', description: 'TCP port that should be free', default: '4680' },
  ],
  example: './bin/accrete doctor',
  load: () => import('./handler.ts'),
};
