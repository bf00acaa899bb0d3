/** @file Declares `accrete eval`: how good a checkpoint is, with intervals, and beside another one. */
import type { CommandDeclaration } from '../command.ts';
import { deviceOption } from '../device.ts';
import { requiredCheckpointOptions } from '../model-options.ts';

export const evalModel: CommandDeclaration = {
  name: 'eval',
  description:
    'Measure a checkpoint: loss, perplexity and bits a byte on held-out text by source, and multiple-choice tasks by log-likelihood as lm-evaluation-harness does it, with 95 % intervals; --compare tests another checkpoint on the same items. See docs/publish-and-evaluate.md.',
  options: [
    ...requiredCheckpointOptions,
    {
      name: 'compare',
      value: 'DIR',
      description: 'another checkpoint, named as --checkpoint is, for a paired test (this one minus --checkpoint)',
    },
    {
      name: 'held-out',
      value: 'NAME',
      description:
        "prepared corpus whose held-out text is read: a preset's name; auto: the one with the checkpoint's tokenizer; none",
      default: 'auto',
    },
    {
      name: 'text',
      value: 'LIST',
      description: 'further texts to measure the loss on: FILE or NAME=FILE, separated by commas',
    },
    { name: 'sequences', value: 'N', description: 'sequences of each source at most', default: '64' },
    {
      name: 'seq-len',
      value: 'T',
      description: "tokens of a sequence; at most the model's max_position_embeddings",
      default: '256',
    },
    {
      name: 'tasks',
      value: 'LIST',
      description:
        'multiple-choice tasks: FILE or NAME=FILE (JSON lines as ARC, HellaSwag, PIQA, OpenBookQA and MMLU are published), separated by commas; own: questions made from the held-out text; none',
      default: 'own',
    },
    { name: 'own-items', value: 'N', description: 'questions of each own task', default: '200' },
    { name: 'fewshot', value: 'K', description: 'examples shown before each question', default: '0' },
    {
      name: 'fewshot-from',
      value: 'LIST',
      description:
        'NAME=FILE, separated by commas: the split (train, or dev of MMLU) that a task draws its examples from',
    },
    { name: 'limit', value: 'N', description: 'only the first N questions of each task; 0: all', default: '0' },
    { name: 'seed', value: 'S', description: 'whole number that examples and own tasks follow from', default: '1234' },
    { name: 'threads', value: 'N', description: 'threads of the tensor engine; 0: all cores', default: '0' },
    deviceOption,
    { name: 'out', value: 'FILE', description: 'write the results as JSON; the file must not exist' },
    {
      name: 'write',
      description:
        "keep the results with the checkpoint: DIR.eval.json beside it, and a table in its README.md; the files of a run's release stay as its record names them, and accrete publish makes the table",
    },
  ],
  example: './bin/accrete eval --checkpoint .accrete/run/releases/latest --compare .accrete/run/releases/release-0',
  load: () => import('./handler.ts'),
};
