/** @file Options to a recipe: what is given changes, the rest is the preset's; what is wrong names its flag. */
import { describe, expect, it } from 'vitest';
import { recipeSchema } from '../protocol/manifest.ts';
import { runSettings } from '../roles/run-presets.ts';
import { newRunOptions } from './recipe-declarations.ts';
import { applyNewRun, applyRecipe, newRunArguments, parseNewRun, parseRecipe } from './recipe-options.ts';
import { Settings, type Value } from './settings.ts';

function settingsOf(flags: Readonly<Record<string, string>>): Settings {
  const values = new Map<string, Value>();
  for (const { name, default: text } of newRunOptions) {
    if (text !== undefined) values.set(name, { text, from: 'default' });
    if (flags[name] !== undefined) values.set(name, { text: flags[name], from: `--${name}` });
  }
  return new Settings(values, { argument: null, cwd: '/' });
}
const applied = (flags: Readonly<Record<string, string>>, preset: 'tiny' | 'nano' = 'nano') =>
  applyNewRun(runSettings[preset], parseNewRun(settingsOf(flags)));

describe('recipe options', () => {
  it('leave the preset alone where none is given', () => {
    for (const preset of ['tiny', 'nano'] as const) expect(applied({}, preset)).toEqual(runSettings[preset]);
  });

  it('change what they name', () => {
    const { recipe, schedule, release } = applied({
      ...{
        optimizer: 'muon',
        momentum: '0.9',
        accumulate: '2',
        'z-loss': '0.001',
        'weight-decay': '0',
        'clip-norm': '0',
      },
      ...{ 'bias-rate': '0.5', freeze: '*.A_log, lm_head.weight', 'frozen-dtype': 'bf16', 'release-dtype': 'bf16' },
      ...{ schedule: 'wsd', 'learning-rate': '0.01', 'final-learning-rate': '0', 'warmup-tokens': '10' },
      ...{ 'schedule-tokens': '1_000' },
    });
    expect(recipeSchema.parse(recipe)).toMatchObject({
      ...{
        optimizer: 'muon',
        momentum: '0.9',
        newtonSchulzSteps: 5,
        batchSequences: 8,
        microBatches: 2,
        zLoss: '0.001',
      },
      ...{ weightDecay: '0', clipNorm: '0', selectionBiasRate: '0.5' },
      frozen: { tensors: ['*.A_log', 'lm_head.weight'], dtype: 'bf16' },
    });
    expect(release.dtype).toBe('bf16');
    expect(schedule).toEqual({
      ...{ kind: 'wsd', peakLearningRate: '0.01', finalLearningRate: '0', warmupTokens: 10, totalTokens: 1000 },
    });
  });

  it('end a schedule at the preset share of another peak, and at a tenth where another curve is asked for', () => {
    const finalOf = (flags: Record<string, string>, preset: 'tiny' | 'nano') => {
      const { schedule } = applyRecipe(runSettings[preset], parseRecipe(settingsOf(flags)));
      return Number(schedule.finalLearningRate);
    };
    expect(finalOf({ 'learning-rate': '0.012' }, 'nano')).toBe(0.002);
    expect(finalOf({ 'learning-rate': '0.012' }, 'tiny')).toBe(0.012);
    expect(finalOf({ schedule: 'cosine' }, 'tiny')).toBe(0.0005);
    expect(finalOf({ schedule: 'cosine', 'learning-rate': '0.02' }, 'nano')).toBe(0.002);
  });

  it('go on to another command as they were given', () => {
    const flags = { freeze: '*.A_log', 'frozen-dtype': 'bf16', 'weight-decay': '0.05' };
    const args = newRunArguments(settingsOf(flags));
    expect(args).toEqual(['--weight-decay', '0.05', '--freeze', '*.A_log', '--frozen-dtype', 'bf16']);
    expect(parseNewRun(settingsOf({})).isGiven).toBe(false);
    expect(parseNewRun(settingsOf(flags)).isGiven).toBe(true);
  });

  it('name the flag that is wrong', () => {
    const faults: [Record<string, string>, string][] = [
      [{ optimizer: 'sgd' }, '--optimizer'],
      [{ momentum: '0.9' }, '--momentum'],
      [{ optimizer: 'muon', momentum: '1' }, '--momentum'],
      [{ schedule: 'sine' }, '--schedule'],
      [{ 'learning-rate': '-1' }, '--learning-rate'],
      [{ 'final-learning-rate': 'x' }, '--final-learning-rate'],
      [{ 'warmup-tokens': '99999999999' }, '--warmup-tokens'],
      [{ 'schedule-tokens': '0' }, '--schedule-tokens'],
      [{ 'weight-decay': '-0.1' }, '--weight-decay'],
      [{ 'clip-norm': '-1' }, '--clip-norm'],
      [{ 'bias-rate': '2' }, '--bias-rate'],
      [{ accumulate: '0' }, '--accumulate'],
      [{ accumulate: '1024' }, '--accumulate'],
      [{ 'z-loss': '-1' }, '--z-loss'],
      [{ freeze: '(a+)+' }, '--freeze'],
      [{ freeze: Array(65).fill('a').join() }, '--freeze'],
      [{ 'frozen-dtype': 'bf16' }, '--frozen-dtype'],
      [{ freeze: 'a', 'frozen-dtype': 'f16' }, '--frozen-dtype'],
      [{ 'release-dtype': 'int8' }, '--release-dtype'],
    ];
    for (const [flags, name] of faults)
      expect(() => applied(flags), JSON.stringify(flags)).toThrow(new RegExp(`^${name}[: ]`));
  });
});
