/** @file Declares `accrete chat`: a conversation with a checkpoint. */
import type { CommandDeclaration } from '../command.ts';
import { deviceOption } from '../device.ts';
import { checkpointOptions, contextOption, ggufOption, samplingOptions, threadsOption } from '../model-options.ts';

export const chat: CommandDeclaration = {
  name: 'chat',
  description:
    'Talk with a checkpoint or a release of a run, by its own chat template: one line a turn, the answer as it comes, tokens a second on standard error. /reset forgets the conversation; Ctrl-C ends an answer, and at the prompt the program (exit code 130); Ctrl-D or /exit leaves.',
  options: [
    ...checkpointOptions,
    ggufOption,
    { name: 'system', value: 'TEXT', description: 'a system message before the conversation' },
    { name: 'max-tokens', value: 'N', description: 'tokens of an answer at most', default: '256' },
    ...samplingOptions,
    contextOption,
    threadsOption,
    deviceOption,
  ],
  example: './bin/accrete chat --checkpoint .accrete/run',
  load: () => import('./handler.ts'),
};
