/** @file Declares `accrete serve`: an HTTP server with OpenAI's protocol over a checkpoint. */
import type { CommandDeclaration } from '../command.ts';
import { deviceOption } from '../device.ts';
import { checkpointOptions, contextOption, threadsOption } from '../model-options.ts';

export const serve: CommandDeclaration = {
  name: 'serve',
  description:
    "Serve a checkpoint or a release of a run over HTTP in OpenAI's protocol: /v1/models, /v1/completions, /v1/chat/completions (also streamed), /metrics and /healthz. Requests take turns token by token; those that find no place wait, then are refused with 429.",
  options: [
    ...checkpointOptions,
    { name: 'name', value: 'ID', description: "the model's id for clients; the checkpoint's file name otherwise" },
    { name: 'host', value: 'ADDRESS', description: 'address to listen on', default: '127.0.0.1' },
    { name: 'port', value: 'N', description: 'port to listen on; 0: any free one', default: '4690' },
    { name: 'concurrent', value: 'N', description: 'sequences that are decoded at a time', default: '8' },
    { name: 'queue', value: 'N', description: 'further sequences that may wait', default: '32' },
    { name: 'max-body', value: 'KIB', description: 'size of a request at most, in KiB', default: '4096' },
    {
      name: 'key-file',
      value: 'FILE',
      description: 'file with the key that clients must send; anybody who reaches the port may ask otherwise',
    },
    contextOption,
    threadsOption,
    deviceOption,
  ],
  example: './bin/accrete serve --checkpoint .accrete/run',
  load: () => import('./handler.ts'),
};
