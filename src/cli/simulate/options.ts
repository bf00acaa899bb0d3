/** @file The options of `accrete simulate`. */
import type { Attack } from '../../simulate/attacks/attack.ts';
import { attackNamed, attacks } from '../../simulate/attacks/catalogue.ts';
import { type MergeRule, mergeRules } from '../../simulate/settings.ts';
import { UsageError } from '../../util/errors.ts';
import type { Settings } from '../settings.ts';
import type { ChaosOptions } from './chaos/run.ts';

export interface SimulateOptions {
  /** `list`: only tell their names. */
  readonly attack: Attack | 'none' | 'list';
  readonly seed: number;
  readonly seeds: number;
  readonly miners: number;
  readonly validators: number;
  readonly tempos: number;
  readonly stepMs: number;
  readonly mergeRule: MergeRule;
  /** Null: no chaos run. */
  readonly chaos: ChaosOptions | null;
}

export function parseSimulateOptions(settings: Settings): SimulateOptions {
  return {
    attack: parseAttack(settings.text('attack')),
    seed: settings.count('seed', { min: 0, max: 2 ** 32 }),
    seeds: settings.count('seeds', { min: 1, max: 100 }),
    miners: settings.count('miners', { min: 1, max: 200 }),
    validators: settings.count('validators', { min: 1, max: 64 }),
    tempos: settings.count('tempos', { min: 1, max: 1_000 }),
    stepMs: settings.count('step-ms', { min: 1, max: 3_600_000 }),
    mergeRule: settings.choice('merge-rule', mergeRules),
    chaos: settings.has('chaos') && !settings.has('fleet') ? parseChaos(settings) : null,
  };
}

function parseChaos(settings: Settings): ChaosOptions {
  if (settings.isGiven('attack')) throw new UsageError('--chaos and --attack: expected one of them');
  return {
    seed: settings.count('chaos', { min: 0, max: 2 ** 32 }),
    faults: settings.count('faults', { min: 1, max: 10_000 }),
    minutes: settings.number('minutes', { min: 0.1, max: 24 * 60 }),
    syncers: settings.count('syncers', { min: 1, max: 2 }),
    dir: settings.path('dir'),
  };
}

function parseAttack(name: string): SimulateOptions['attack'] {
  if (name === 'none' || name === 'list') return name;
  const found = attackNamed(name);
  if (found !== undefined) return found;
  throw new UsageError(
    `--attack: there is no attack '${name}'; expected none, list, or one of ${attacks.map((each) => each.name).join(', ')}`,
  );
}
