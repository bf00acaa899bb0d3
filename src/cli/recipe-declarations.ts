/**
 * @file Declares the options that change a preset's recipe, for `accrete train` and for a new run of a network. Apart from
 * what reads them (`recipe-options.ts`), so that `--help` loads nothing else.
 */
import type { OptionDeclaration } from './command.ts';

export const scheduleKinds = ['constant', 'linear', 'cosine', 'wsd'] as const;
export const dtypes = ['f32', 'bf16'] as const;
export const codecs = ['f32', 'bf16', 'int8', 'int4', 'topk'] as const;

export const recipeOptions: readonly OptionDeclaration[] = [
  {
    name: 'optimizer',
    value: 'NAME',
    description: 'inner optimiser; muon moves matrices by Muon and the rest by AdamW',
    default: 'adamw',
    choices: ['adamw', 'muon'],
  },
  { name: 'momentum', value: 'X', description: "of Muon's matrices, in [0, 1)", default: '0.95' },
  {
    name: 'schedule',
    value: 'NAME',
    description: "curve of the learning rate after its warm-up, instead of the preset's; wsd falls in its last fifth",
    choices: scheduleKinds,
  },
  { name: 'learning-rate', value: 'X', description: "peak of the schedule, instead of the preset's" },
  {
    name: 'final-learning-rate',
    value: 'X',
    description: "end of the schedule; a tenth of the peak with --schedule, else the preset's share of the peak",
  },
  { name: 'warmup-tokens', value: 'N', description: "tokens of the linear warm-up, instead of the preset's" },
  { name: 'schedule-tokens', value: 'N', description: "tokens of the schedule in all, instead of the preset's" },
  {
    name: 'weight-decay',
    value: 'X',
    description: "decoupled decay of matrices (no norm, gate, gain, bias, A_log or dt_bias), instead of the preset's",
  },
  {
    name: 'clip-norm',
    value: 'X',
    description: "global norm of the gradient at most; 0: no clip; instead of the preset's",
  },
  {
    name: 'bias-rate',
    value: 'X',
    description: "how far a step moves a router's selection bias, instead of the preset's; 0: not at all",
  },
  { name: 'accumulate', value: 'N', description: 'micro-batches whose gradients make one step', default: '1' },
  { name: 'z-loss', value: 'X', description: 'coefficient of the mean of logsumexp(logits)²', default: '0' },
  {
    name: 'freeze',
    value: 'NAMES',
    description:
      'tensors that stay as they start, by name, separated by commas; * stands for any text: *.A_log,*.dt_bias',
  },
  {
    name: 'frozen-dtype',
    value: 'NAME',
    description: 'how frozen tensors are stored; bf16 rounds to nearest even, computation stays float32',
    default: 'f32',
    choices: dtypes,
  },
];

/** What a new run is made from, in place of a preset and options to its recipe. */
export const runFileOptions: readonly OptionDeclaration[] = [
  {
    name: 'template',
    value: 'NAME',
    description: 'template of a new run, as `accrete run init` writes it, in place of --preset: demo has three phases',
    choices: ['demo', 'quasar-10t'],
  },
  {
    name: 'manifest',
    value: 'FILE',
    description: 'run file of a new run, made by `accrete run init`, in place of --preset',
  },
  {
    name: 'from',
    value: 'PLACE',
    description:
      'checkpoint that a new run starts from: a folder in Hugging Face layout, or hf://owner/name[@revision]',
  },
];

/** Of a new run of a network: its recipe, and how its releases are published. */
export const newRunOptions: readonly OptionDeclaration[] = [
  ...recipeOptions,
  {
    name: 'release-dtype',
    value: 'NAME',
    description: "floats of a new run's releases; bf16 rounds to nearest even and halves them",
    default: 'f32',
    choices: dtypes,
  },
  {
    name: 'codec',
    value: 'NAME',
    description:
      "how a new run's pseudo-gradients travel; topk: 144 times fewer bytes than f32, with error feedback, instead of the preset's",
    choices: codecs,
  },
];
