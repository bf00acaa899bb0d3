/** @file Declares `accrete generate`: continues a prompt from a checkpoint. */
import type { CommandDeclaration } from '../command.ts';
import { deviceOption } from '../device.ts';
import { checkpointOptions, contextOption, ggufOption, samplingOptions, threadsOption } from '../model-options.ts';

export const generate: CommandDeclaration = {
  name: 'generate',
  description:
    'Continue a prompt from a checkpoint (config.json, model.safetensors, tokenizer.json) or a release of a run; the text on standard output as it comes, tokens a second on standard error. Ctrl-C ends it with exit code 130.',
  options: [
    ...checkpointOptions,
    ggufOption,
    { name: 'prompt', value: 'TEXT', description: 'text to continue; - reads it from standard input', required: true },
    { name: 'max-tokens', value: 'N', description: 'tokens to add at most', default: '100' },
    ...samplingOptions,
    contextOption,
    threadsOption,
    deviceOption,
  ],
  example: './bin/accrete generate --checkpoint .accrete/run --prompt "The people of"',
  load: () => import('./handler.ts'),
};
