/** @file Declares `accrete export`: a checkpoint as a file that other programs run. */
import type { CommandDeclaration } from '../command.ts';
import { exportTargetNames } from './targets.ts';

export const exportModel: CommandDeclaration = {
  name: 'export',
  description:
    'Write a checkpoint in the format of other programs. gguf: one file for llama.cpp, for models without hybrid layers; what it cannot say exactly is refused.',
  options: [
    { name: 'checkpoint', value: 'DIR', description: 'folder of the checkpoint', required: true },
    { name: 'to', value: 'FORMAT', description: 'the format', required: true, choices: exportTargetNames },
    { name: 'out', value: 'FILE', description: 'file to write; it must not exist', required: true },
    {
      name: 'type',
      value: 'TYPE',
      description: 'how matrices are stored (gguf: F32 or F16); norms, biases and routers stay F32',
      default: 'F32',
    },
    {
      name: 'context',
      value: 'T',
      description: "tokens of context that the file promises; by default the model's max_position_embeddings",
    },
    { name: 'name', value: 'TEXT', description: "the model's name in the file; by default the checkpoint folder's" },
  ],
  example: './bin/accrete export --checkpoint .accrete/train/checkpoint-1 --to gguf --type F16 --out model.gguf',
  load: () => import('./handler.ts'),
};
