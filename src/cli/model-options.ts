/** @file Options of the commands that run a model. Declarations alone: the parser is built from them at each start. */
import type { OptionDeclaration } from './command.ts';

export const checkpointOptions: readonly OptionDeclaration[] = [
  {
    name: 'checkpoint',
    value: 'DIR|URL',
    description:
      "checkpoint folder, GGUF file written here, a run's folder or URL, or hf://owner/name; what is far away is pulled first",
  },
  { name: 'release', value: 'N', description: 'which release of a run; the newest otherwise' },
];

/** Where nothing else can be meant. */
export const requiredCheckpointOptions: readonly OptionDeclaration[] = checkpointOptions.map((option) =>
  option.name === 'checkpoint' ? { ...option, required: true } : option,
);

export const ggufOption: OptionDeclaration = {
  name: 'gguf',
  value: 'FILE',
  description: 'run this GGUF file with llama.cpp (node-llama-cpp, installed on demand) instead of a checkpoint',
};

export const contextOption: OptionDeclaration = {
  name: 'context',
  value: 'N',
  description: "tokens of prompt and answer together; 0: the model's max_position_embeddings",
  default: '0',
};

export const threadsOption: OptionDeclaration = {
  name: 'threads',
  value: 'N',
  description: 'threads of the tensor engine; 0: all cores',
  default: '0',
};

export const samplingOptions: readonly OptionDeclaration[] = [
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
];
