/** @file Declares `accrete train`: one machine, no network. */
import type { CommandDeclaration } from '../command.ts';
import { deviceOption } from '../device.ts';
import { recipeOptions } from '../recipe-declarations.ts';

export const train: CommandDeclaration = {
  name: 'train',
  description: 'Train on this machine alone, without a network: the same model, data and inner loop as a miner has.',
  options: [
    {
      name: 'preset',
      value: 'NAME',
      description: 'model preset',
      default: 'nano',
      choices: ['tiny', 'nano', 'nano-gguf', 'small'],
    },
    { name: 'dir', value: 'DIR', description: 'folder for the checkpoint', default: '.accrete/train' },
    {
      name: 'seed',
      value: 'S',
      description: 'whole number that initialisation and data order follow from',
      default: '0',
    },
    { name: 'steps', value: 'N', description: 'end after this many inner steps; 0: no such end', default: '0' },
    { name: 'minutes', value: 'N', description: 'end after this many minutes; 0: no such end', default: '10' },
    {
      name: 'batch-factor',
      value: 'N',
      description: "batch as a multiple of the preset's (3: the baseline of 3 miners)",
      default: '1',
    },
    { name: 'batch', value: 'N', description: "sequences of a micro-batch, instead of the preset's" },
    { name: 'sequence-length', value: 'T', description: "tokens of a sequence, instead of the preset's" },
    {
      name: 'gradient-checkpointing',
      description: 'compute each layer again in the backward pass: the same bits, less memory, more time',
    },
    ...recipeOptions,
    {
      name: 'save',
      value: 'DIR',
      description: "folder for the learner's state, from which --resume goes on with the same bits",
    },
    { name: 'save-every', value: 'N', description: 'steps between two saves; 0: only at the end', default: '0' },
    {
      name: 'resume',
      value: 'DIR',
      description: 'go on from the state saved there; --steps counts from its very start',
    },
    {
      name: 'dtype',
      value: 'NAME',
      description: "the checkpoint's floats; bf16 rounds to nearest even and halves it",
      default: 'f32',
      choices: ['f32', 'bf16'],
    },
    { name: 'threads', value: 'N', description: 'threads of the tensor engine; 0: all cores', default: '0' },
    deviceOption,
  ],
  example: './bin/accrete train --preset tiny --steps 100 --dir .accrete/alone',
  load: () => import('./handler.ts'),
};
