/** @file The options of `accrete train`. */
import type { Device } from '../../engine/device.ts';
import { parseDevice } from '../device.ts';
import { parseRecipe, type RecipeChoice } from '../recipe-options.ts';
import type { Settings } from '../settings.ts';
import { parseThreads } from '../threads.ts';

export interface TrainOptions {
  readonly preset: 'tiny' | 'nano' | 'nano-gguf' | 'small';
  readonly dir: string;
  readonly seed: number;
  /** Null: no such end. */
  readonly steps: number | null;
  readonly minutes: number | null;
  readonly batchFactor: number;
  /** Sequences of a micro-batch and tokens of a sequence; null: the preset's. */
  readonly batch: number | null;
  readonly sequenceLength: number | null;
  readonly recomputeLayers: boolean;
  readonly recipe: RecipeChoice;
  /** Folder for the learner's state; null: not kept. */
  readonly save: string | null;
  /** Steps between two saves; 0: only at the end. */
  readonly saveEvery: number;
  /** Folder of a saved state to go on from; null: start anew. */
  readonly resume: string | null;
  /** Of the checkpoint folder's floats. */
  readonly dtype: 'f32' | 'bf16';
  readonly threads: number;
  readonly device: Device;
  readonly json: boolean;
}

export function parseTrainOptions(settings: Settings): TrainOptions {
  const steps = settings.count('steps', { min: 0, max: Number.MAX_SAFE_INTEGER });
  const minutes = settings.number('minutes', { min: 0, max: 525_600 });
  return {
    preset: settings.choice('preset', ['tiny', 'nano', 'nano-gguf', 'small']),
    dir: settings.path('dir'),
    seed: settings.count('seed', { min: 0, max: Number.MAX_SAFE_INTEGER }),
    steps: steps === 0 ? null : steps,
    // A number of steps alone is a whole answer; the default of minutes is for who gives none.
    minutes: minutes === 0 || (steps > 0 && !settings.isGiven('minutes')) ? null : minutes,
    batchFactor: settings.count('batch-factor', { min: 1, max: 1024 }),
    batch: settings.isGiven('batch') ? settings.count('batch', { min: 1, max: 65536 }) : null,
    sequenceLength: settings.isGiven('sequence-length')
      ? settings.count('sequence-length', { min: 2, max: 1 << 20 })
      : null,
    recomputeLayers: settings.switch('gradient-checkpointing'),
    recipe: parseRecipe(settings),
    save: settings.isGiven('save') ? settings.path('save') : null,
    saveEvery: settings.count('save-every', { min: 0, max: Number.MAX_SAFE_INTEGER }),
    resume: settings.isGiven('resume') ? settings.path('resume') : null,
    dtype: settings.choice('dtype', ['f32', 'bf16']),
    threads: parseThreads(settings),
    device: parseDevice(settings),
    json: settings.switch('json'),
  };
}
