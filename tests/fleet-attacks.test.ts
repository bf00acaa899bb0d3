/** @file Fleets of which a share attacks, and faults that a chaos seed adds: who earns what, by which code he is caught, one seed one journal. */
import { describe, expect, it } from 'vitest';
import { nativeEquation } from '../src/cli/native-ed25519.ts';
import { attacks } from '../src/simulate/attacks/catalogue.ts';
import type { AttackOutcome } from '../src/simulate/fleet/attacked-fleet.ts';
import { fleetAttackNamed, fleetAttackNames } from '../src/simulate/fleet/fleet-attacks.ts';
import { fleetFaultKinds, planFleetFaults } from '../src/simulate/fleet/fleet-chaos.ts';
import { fleetSchema } from '../src/simulate/fleet/fleet-file.ts';
import { type FleetOutcome, fleetOutcome } from '../src/simulate/fleet/fleet-outcome.ts';
import { FleetRun, type FleetRunOptions } from '../src/simulate/fleet/fleet-run.ts';

const fleet = fleetSchema.parse({
  name: 'attacked',
  machines: [
    { kind: 'machine', count: 4, tokensPerSecond: 1_000, spread: 2, site: 'a' },
    { kind: 'other', count: 2, tokensPerSecond: 1_000, site: 'b' },
  ],
  validators: { count: 5, tokensPerSecond: 10_000, checkSeconds: 0.5 },
  run: {
    ...{ preset: 'tiny', sequenceLength: 256, batchSequences: 16, fragments: 4, innerSteps: 4 },
    ...{ graceSeconds: [1, 5], deadlineSeconds: 60, leaseSequences: 4_096, leaseSeconds: 120, stateRootEverySteps: 8 },
    ...{ blockSeconds: 2, tempoBlocks: 90, auditAnswerSeconds: 60 },
  },
});

function simulate(hours: number, options: Partial<FleetRunOptions>): { outcome: FleetOutcome; lines: string[] } {
  const lines: string[] = [];
  const run = new FleetRun({
    ...{ fleet, hours, seed: '1', mode: 'stub', equation: nativeEquation, onLine: (line) => lines.push(line) },
    ...options,
  });
  run.run();
  const about = { command: '', name: fleet.name, about: '', seed: '1', hours, notes: [] };
  return { outcome: fleetOutcome(run, about), lines };
}

function attacked(name: string): { outcome: AttackOutcome; lines: string[] } {
  const attack = fleetAttackNamed(name);
  if ('refusal' in attack) throw new Error(attack.refusal);
  const { outcome, lines } = simulate(0.25, { attack: { attack, share: 0.2 } });
  return { outcome: outcome.attack!, lines };
}

describe('a fleet of which a share attacks', () => {
  it.each([
    ['zero-work', ['NORM_LOW', 'STATE']],
    ['noise', ['STATE']],
    ['stale-replay', ['STATE']],
    ['copy', ['STATE']],
    ['sandbagging', ['CLAIM']],
    ['memorise', ['CLAIM']],
    ['scale-100', ['NORM_HIGH']],
    ['withheld-reveal', ['MISSING']],
    ['malformed', ['HEADER']],
    ['huge', ['OVERSIZED', 'MISSING']],
  ] as const)('pays %s next to nothing, and catches it', (name, codes) => {
    const { outcome } = attacked(name);
    expect(outcome.miners).toBe(1);
    expect(outcome.earned).toBeLessThan(0.1);
    expect(Object.keys(outcome.caughtBy).some((code) => (codes as readonly string[]).includes(code))).toBe(true);
    expect(outcome.honestRefused).toBe(0);
    expect(outcome.honestPaid).toBeGreaterThan(0.95);
    const [worst, best] = outcome.honestPay!;
    expect(worst).toBeGreaterThan(0.85);
    expect(best).toBeLessThan(1.15);
  });

  it('pays a machine that is split among hotkeys as the machine', () => {
    const { outcome } = attacked('sybil');
    expect(outcome.miners).toBe(4);
    expect(outcome.earned).toBeGreaterThan(0.7);
    expect(outcome.earned).toBeLessThan(1.2);
    expect(outcome.caughtBy).toEqual({});
  });

  it.each(['lying-validator', 'lazy-validator'])('bars the %s, and no honest miner loses by him', (name) => {
    const { outcome } = attacked(name);
    expect(outcome.validators).toBe(1);
    expect(outcome.caughtBy.BARRED).toBe(1);
    expect(outcome.validatorsEarned).toBeLessThan(0.5);
    expect(outcome.honestRefused).toBeLessThan(0.02);
  });

  it('bars validators that pass the noise of their miner', () => {
    const { outcome } = attacked('colluding-validators');
    expect(outcome.validators).toBe(2);
    expect(outcome.earned).toBeLessThan(0.1);
    expect(outcome.caughtBy.BARRED).toBeGreaterThan(0);
  });

  it('gives one journal for one seed', () => {
    const [first, again] = [attacked('sandbagging'), attacked('sandbagging')];
    expect(first.lines.join('\n') === again.lines.join('\n')).toBe(true);
  });

  it('simulates or refuses every attack of the catalogue by name, and says where the refused ones run', () => {
    for (const { name } of attacks) {
      const made = fleetAttackNamed(name);
      if ('refusal' in made) expect(made.refusal, name).toContain(`run \`accrete simulate --attack ${name}\``);
      else expect(fleetAttackNames, name).toContain(name);
    }
    expect(fleetAttackNames.every((name) => attacks.some((attack) => attack.name === name))).toBe(true);
    expect(fleetAttackNamed('sign-flip')).toHaveProperty('refusal');
  });
});

describe('faults of a chaos seed', () => {
  it('are added to any fleet: each kind hits somebody, one seed gives one journal, another gives another', () => {
    const chaos = planFleetFaults({ seed: 7, count: 5 * fleetFaultKinds.length, hours: 0.25 });
    const [first, again] = [simulate(0.25, { chaos }), simulate(0.25, { chaos })];
    expect(first.lines.join('\n') === again.lines.join('\n')).toBe(true);
    expect(Object.keys(first.outcome.chaos)).toEqual([...fleetFaultKinds].sort());
    expect(first.outcome.claims.merged).toBeGreaterThan(0);
    const other = planFleetFaults({ seed: 8, count: 5 * fleetFaultKinds.length, hours: 0.25 });
    expect(other).not.toEqual(chaos);
    expect(simulate(0.25, { chaos: other }).outcome.headHash).not.toBe(first.outcome.headHash);
  });

  it('fall within the run, in the order of their times', () => {
    const plan = planFleetFaults({ seed: 1, count: 100, hours: 2 });
    expect(plan.map(({ atMs }) => atMs)).toEqual(plan.map(({ atMs }) => atMs).sort((a, b) => a - b));
    for (const { atMs, holdMs } of plan) {
      expect(atMs).toBeLessThan(2 * 3_600_000);
      expect(holdMs).toBeLessThanOrEqual(1_800_000);
    }
  });
});
