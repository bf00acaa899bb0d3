/** @file The options of `accrete simulate --fleet`. */
import { readFileSync, statSync } from 'node:fs';
import { type FleetAttack, fleetAttackNamed } from '../../../simulate/fleet/fleet-attacks.ts';
import { type Fleet, parseFleet } from '../../../simulate/fleet/fleet-file.ts';
import type { SignatureMode } from '../../../simulate/fleet/fleet-keys.ts';
import { fleetPreset, fleetPresets } from '../../../simulate/fleet/fleet-presets.ts';
import { mostTrainedMachines } from '../../../simulate/fleet/trained-fleet.ts';
import { UsageError } from '../../../util/errors.ts';
import type { Settings } from '../../settings.ts';

export interface FleetOptions {
  /** As it was typed: it is in the command that a result carries. */
  readonly named: string;
  readonly fleet: Fleet;
  readonly hours: number;
  readonly seed: number;
  readonly signatures: SignatureMode;
  readonly freeloaders: number;
  /** Null: nobody attacks. */
  readonly attack: { readonly attack: FleetAttack; readonly share: number } | null;
  /** Null: only what the fleet's file says goes wrong. */
  readonly chaos: { readonly seed: number; readonly faults: number } | null;
  readonly tickMs: number;
  readonly out: string | null;
  readonly journal: string | null;
}

/** How long, from which seed, and where the result goes. */
export function parseRunLength(settings: Settings): Pick<FleetOptions, 'hours' | 'seed' | 'out'> {
  return {
    hours: settings.number('hours', { min: 0.01, max: 24 * 366 }),
    seed: settings.count('seed', { min: 0, max: 2 ** 32 }),
    out: settings.has('out') ? settings.path('out') : null,
  };
}

const maxFleetBytes = 1 << 20;
/** Of more learners than this signatures are stubbed where nothing else is asked for. */
const signingLearners = 50;

export function parseFleetOptions(settings: Settings): FleetOptions {
  const named = settings.text('fleet');
  const fleet = fleetNamed(settings);
  const learners = fleet.machines.reduce((sum, { count }) => sum + count, 0);
  const chosen = settings.choice('signatures', ['auto', 'real', 'stub']);
  return {
    named,
    fleet,
    ...parseRunLength(settings),
    signatures: chosen === 'auto' ? (learners > signingLearners ? 'stub' : 'real') : chosen,
    freeloaders: settings.count('freeloaders', { min: 0, max: 100_000 }),
    attack: parseFleetAttack(settings),
    chaos: settings.has('chaos')
      ? {
          seed: settings.count('chaos', { min: 0, max: 2 ** 32 }),
          faults: settings.count('faults', { min: 1, max: 10_000 }),
        }
      : null,
    tickMs: settings.count('tick-ms', { min: 100, max: 60_000 }),
    journal: settings.has('journal') ? settings.path('journal') : null,
  };
}

function parseFleetAttack(settings: Settings): FleetOptions['attack'] {
  const name = settings.text('attack');
  if (name === 'none') return null;
  const attack = fleetAttackNamed(name);
  if ('refusal' in attack) throw new UsageError(`--attack: ${attack.refusal}`);
  return { attack, share: settings.number('attack-share', { min: 0.001, max: 0.9 }) };
}

/** What `--train` can train: refused before anything is opened. */
export function checkTrained({ fleet, attack, freeloaders }: FleetOptions): void {
  const machines = fleet.machines.reduce((sum, { count }) => sum + count, 0);
  const { preset } = fleet.run;
  if (machines > mostTrainedMachines)
    throw new UsageError(`--train: expected at most ${mostTrainedMachines} machines, the fleet has ${machines}`);
  if (preset !== undefined && preset !== 'tiny')
    throw new UsageError(`--train: trains preset tiny; run.preset of the fleet is ${preset}`);
  if (fleet.machines.some(({ learnersPerHotkey }) => learnersPerHotkey > 1))
    throw new UsageError('--train: expected one learner for each hotkey (learnersPerHotkey 1)');
  if (attack !== null || freeloaders > 0)
    throw new UsageError(
      '--train: nobody attacks there; run `accrete simulate --attack NAME` for attacks on real training',
    );
}

/** By name or by its file: for `plan` too. */
export function fleetNamed(settings: Settings): Fleet {
  const named = settings.text('fleet');
  return fleetPreset(named) ?? readFleet(settings.path('fleet'), named);
}

function readFleet(path: string, named: string): Fleet {
  const info = statSync(path, { throwIfNoEntry: false });
  if (info === undefined || !info.isFile())
    throw new UsageError(
      `--fleet: there is no file at ${path}, and no fleet is called '${named}'; known are ${Object.keys(fleetPresets).join(', ')}`,
    );
  if (info.size > maxFleetBytes) throw new UsageError(`${path}: expected at most 1 MiB, got ${info.size} bytes`);
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new UsageError(`${path}: expected JSON (${(error as Error).message})`, { cause: error });
  }
  const parsed = parseFleet(json);
  if ('fault' in parsed) throw new UsageError(`${path}: ${parsed.fault}`);
  return parsed.fleet;
}
