/** @file Declares `accrete export`: a checkpoint as files that other programs run. */
import type { CommandDeclaration } from '../command.ts';
import { requiredCheckpointOptions } from '../model-options.ts';
import { exportTargetNames, layoutNames } from './targets.ts';

export const exportModel: CommandDeclaration = {
  name: 'export',
  description:
    'Write a checkpoint in the format of other programs. hf: a Hugging Face folder; gguf: one file for llama.cpp and Ollama, with a Modelfile; mlx: a folder for mlx-lm. What a format cannot say exactly is refused; of a hybrid model llama.cpp gets the backbone, with its measured loss. See docs/export.md.',
  options: [
    ...requiredCheckpointOptions,
    { name: 'to', value: 'FORMAT', description: 'the format', required: true, choices: exportTargetNames },
    { name: 'out', value: 'PATH', description: 'file or folder to write; it must not exist', required: true },
    {
      name: 'type',
      value: 'TYPE',
      description:
        'how matrices are stored; gguf: F32 (default), F16, BF16, Q8_0, Q4_0, Q4_K_M, Q6_K, MXFP4; hf: F32 (default), BF16; mlx: F32, BF16 (default), F16. Norms, biases and routers stay F32',
    },
    { name: 'bits', value: 'N', description: 'mlx: quantise matrices to 4 or 8 bits' },
    { name: 'group', value: 'N', description: 'mlx: numbers with one scale (32, 64 or 128)', default: '64' },
    {
      name: 'layout',
      value: 'NAME',
      description:
        'hf: quasar_long (default) or bailing_moe, which vLLM and SGLang load; gguf: bailing_moe (default, for llama.cpp) or quasar_long, the whole model for accrete alone',
      choices: layoutNames,
    },
    { name: 'shard-gb', value: 'GB', description: 'hf, mlx: a file of tensors grows no larger', default: '5' },
    {
      name: 'context',
      value: 'T',
      description: "tokens of context that the files promise; by default the model's max_position_embeddings",
    },
    { name: 'name', value: 'TEXT', description: "the model's name in the files; by default the checkpoint folder's" },
    {
      name: 'held-out',
      value: 'FILE',
      description: "gguf of a hybrid model: text that it was not trained on; the backbone's loss is measured on it",
    },
    {
      name: 'max-gap',
      value: 'X',
      description: 'gguf of a hybrid model: nats a token that the backbone may lose, in loss or divergence',
      default: '0.02',
    },
    { name: 'threads', value: 'N', description: 'threads of the measuring; 0: all cores', default: '0' },
  ],
  example: './bin/accrete export --checkpoint .accrete/train/checkpoint-1 --to gguf --type Q8_0 --out model.gguf',
  load: () => import('./handler.ts'),
};
