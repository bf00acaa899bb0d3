/**
 * @file Reads the options that change a preset's recipe, the same for `accrete train` and for a new run of a network: optimiser,
 * learning rate, regularisation, what is frozen. What is not given stays as the preset has it.
 */
import {
  type Frozen,
  maxFrozenPatterns,
  namePatternSchema,
  type Recipe,
  type StoredFloat,
} from '../protocol/manifest.ts';
import { type Decimal, fromDecimal, toDecimal } from '../protocol/names.ts';
import type { RunSettings } from '../roles/run-presets.ts';
import { BaseError, UsageError } from '../util/errors.ts';
import { codecs, dtypes, newRunOptions, scheduleKinds } from './recipe-declarations.ts';
import type { Settings } from './settings.ts';

/** What the options ask for; null: the preset's. */
export interface RecipeChoice {
  readonly optimizer: Recipe['optimizer'];
  readonly momentum: number;
  readonly schedule: (typeof scheduleKinds)[number] | null;
  readonly learningRate: number | null;
  readonly finalLearningRate: number | null;
  readonly warmupTokens: number | null;
  readonly scheduleTokens: number | null;
  readonly weightDecay: number | null;
  readonly clipNorm: number | null;
  readonly biasRate: number | null;
  /** Micro-batches of one step. */
  readonly accumulate: number;
  readonly zLoss: number;
  readonly frozen: Frozen | null;
}

/** The preset's recipe as it is. */
export const presetRecipe: RecipeChoice = {
  ...{ optimizer: 'adamw', momentum: 0.95, accumulate: 1, zLoss: 0, schedule: null, frozen: null },
  ...{ learningRate: null, finalLearningRate: null, warmupTokens: null, scheduleTokens: null },
  ...{ weightDecay: null, clipNorm: null, biasRate: null },
};

/** @throws UsageError that names the option */
export function parseRecipe(settings: Settings): RecipeChoice {
  const given = <T>(name: string, read: () => T): T | null => (settings.isGiven(name) ? read() : null);
  const number = (name: string, max: number): number | null =>
    given(name, () => settings.number(name, { min: 0, max }));
  const tokens = (name: string, min: number): number | null =>
    given(name, () => settings.count(name, { min, max: Number.MAX_SAFE_INTEGER }));
  const choice: RecipeChoice = {
    optimizer: settings.choice('optimizer', ['adamw', 'muon']),
    momentum: settings.number('momentum', { min: 0, max: 0.9999 }),
    schedule: given('schedule', () => settings.choice('schedule', scheduleKinds)),
    learningRate: number('learning-rate', 10),
    finalLearningRate: number('final-learning-rate', 10),
    warmupTokens: tokens('warmup-tokens', 0),
    scheduleTokens: tokens('schedule-tokens', 1),
    weightDecay: number('weight-decay', 10),
    clipNorm: number('clip-norm', 1e9),
    biasRate: number('bias-rate', 1),
    accumulate: settings.count('accumulate', { min: 1, max: 1024 }),
    zLoss: settings.number('z-loss', { min: 0, max: 1 }),
    frozen: given('freeze', () => ({
      tensors: parsePatterns(settings.text('freeze')),
      dtype: settings.choice('frozen-dtype', dtypes),
    })),
  };
  if (choice.optimizer === 'adamw' && settings.isGiven('momentum'))
    throw new UsageError('--momentum is of Muon; add --optimizer muon or leave it out');
  if (choice.frozen === null && settings.isGiven('frozen-dtype'))
    throw new UsageError('--frozen-dtype says how frozen tensors are stored; add --freeze with their names');
  return choice;
}

function parsePatterns(text: string): string[] {
  const patterns = text.split(',').map((pattern) => pattern.trim());
  for (const pattern of patterns) {
    const parsed = namePatternSchema.safeParse(pattern);
    if (!parsed.success)
      throw new UsageError(`--freeze: '${pattern.slice(0, 80)}': ${parsed.error.issues[0]!.message}`);
  }
  if (patterns.length > maxFrozenPatterns)
    throw new UsageError(`--freeze: at most ${maxFrozenPatterns} names, got ${patterns.length}`);
  return patterns;
}

/**
 * The preset's settings with what was chosen; a step then has `accumulate` times the preset's sequences.
 * @throws UsageError where the warm-up is longer than the schedule
 */
export function applyRecipe(settings: RunSettings, choice: RecipeChoice): RunSettings {
  return { ...settings, schedule: scheduleOf(settings, choice), recipe: recipeOf(settings, choice) };
}

function scheduleOf({ schedule }: RunSettings, choice: RecipeChoice): RunSettings['schedule'] {
  const decimal = (value: number | null, otherwise: Decimal): Decimal =>
    value === null ? otherwise : toDecimal(value);
  const peakLearningRate = decimal(choice.learningRate, schedule.peakLearningRate);
  const share =
    choice.schedule === null ? fromDecimal(schedule.finalLearningRate) / fromDecimal(schedule.peakLearningRate) : 0.1;
  const isOther = choice.schedule !== null || choice.learningRate !== null;
  const final = isOther
    ? toDecimal(Number((fromDecimal(peakLearningRate) * share).toPrecision(6)))
    : schedule.finalLearningRate;
  const changed = {
    kind: choice.schedule ?? schedule.kind,
    peakLearningRate,
    finalLearningRate: decimal(choice.finalLearningRate, final),
    warmupTokens: choice.warmupTokens ?? schedule.warmupTokens,
    totalTokens: choice.scheduleTokens ?? schedule.totalTokens,
  };
  if (changed.warmupTokens > changed.totalTokens)
    throw new UsageError(
      `--warmup-tokens: ${changed.warmupTokens} are more than the schedule's ${changed.totalTokens}; lower it, or raise --schedule-tokens`,
    );
  return changed;
}

function recipeOf({ recipe }: RunSettings, choice: RecipeChoice): Recipe {
  const { optimizer, accumulate, zLoss, weightDecay, clipNorm, biasRate, frozen } = choice;
  const changed = {
    batchSequences: recipe.batchSequences * accumulate,
    ...(accumulate === 1 ? {} : { microBatches: accumulate }),
    ...(zLoss === 0 ? {} : { zLoss: toDecimal(zLoss) }),
    ...(weightDecay === null ? {} : { weightDecay: toDecimal(weightDecay) }),
    ...(clipNorm === null ? {} : { clipNorm: toDecimal(clipNorm) }),
    ...(biasRate === null ? {} : { selectionBiasRate: toDecimal(biasRate) }),
    ...(frozen === null ? {} : { frozen }),
  };
  const muon = { optimizer: 'muon', momentum: toDecimal(choice.momentum), newtonSchulzSteps: 5 } as const;
  return { ...recipe, ...changed, ...(optimizer === 'muon' ? muon : {}) } as Recipe;
}

export interface NewRunChoice {
  readonly recipe: RecipeChoice;
  readonly releaseDtype: StoredFloat;
  /** Null: the preset's. */
  readonly codec: RunSettings['codec'] | null;
  /** Whether any of it was asked for: a run that is there must then be so. */
  readonly isGiven: boolean;
}

/** @throws UsageError that names the option */
export const parseNewRun = (settings: Settings): NewRunChoice => ({
  recipe: parseRecipe(settings),
  releaseDtype: settings.choice('release-dtype', dtypes),
  codec: settings.isGiven('codec') ? settings.choice('codec', codecs) : null,
  isGiven: newRunOptions.some(({ name }) => settings.isGiven(name)),
});

/** Those that were set, as another command takes them; all are checked. @throws UsageError that names the option */
export function newRunArguments(settings: Settings): string[] {
  parseNewRun(settings);
  return newRunOptions.flatMap(({ name }) => (settings.isGiven(name) ? [`--${name}`, settings.text(name)] : []));
}

/** @throws UsageError where the warm-up is longer than the schedule, or a step larger than a lease */
export function applyNewRun(settings: RunSettings, { recipe: choice, releaseDtype, codec }: NewRunChoice): RunSettings {
  const changed = { ...applyRecipe(settings, choice), codec: codec ?? settings.codec };
  const { batchSequences } = changed.recipe;
  if (batchSequences > changed.sync.leaseSequences)
    throw new UsageError(
      `--accumulate: a step would read ${batchSequences} sequences, more than a lease of ${changed.sync.leaseSequences}; lower it`,
    );
  return releaseDtype === 'f32' ? changed : { ...changed, release: { ...changed.release, dtype: releaseDtype } };
}

/** Says of patterns that name nothing, or leave too little to train, which option they came from. */
export function asFreezeFault(error: unknown): unknown {
  const isOurs = error instanceof BaseError && ['BAD_FROZEN', 'TOO_FEW_ROWS'].includes(error.code);
  return isOurs ? new UsageError(`--freeze: ${error.message}`, { cause: error }) : error;
}
