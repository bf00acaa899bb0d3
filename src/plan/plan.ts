/**
 * @file What a fleet makes of a manifest, by arithmetic: time, bytes, journal, store, validators, what limits it and what would change
 * it most. The steady state of each phase; the simulator (`src/simulate/fleet`) has the dynamics, and a test holds the two
 * together. Nothing here is measured on the machines that it speaks of.
 */

import type { RunManifest } from '../protocol/manifest.ts';
import type { Fleet } from '../simulate/fleet/fleet-file.ts';
import { type FleetSizes, sizesOf } from '../simulate/fleet/sizes.ts';
import { heldBecause } from './audits.ts';
import { limitsOf } from './limits.ts';
import { mean } from './pace.ts';
import { journalOf, type PlannedJournal } from './planned-journal.ts';
import { type Outlook, type Sensitivity, sensitivitiesOf } from './sensitivities.ts';
import { type PlannedKind, type Steady, steadyState, sumOf, trainingBytes } from './steady.ts';
import { type PlannedStore, storeOf } from './storage.ts';
import { type PlannedValidators, validatorsOf } from './validators.ts';

export const planFormat = 'accrete-plan/2';
const dayS = 86_400;

export interface PlannedPhase {
  readonly name: string;
  readonly targetTokens: number;
  readonly sequenceLength: number;
  readonly tokensADay: number;
  readonly outerStepSeconds: number;
  /** From the start of the run; null: never. */
  readonly endDays: number | null;
}

export interface Plan {
  readonly format: typeof planFormat;
  readonly command: string;
  readonly run: string;
  readonly fleet: string;
  readonly notes: readonly string[];
  readonly totalParameters: number;
  readonly activeParameters: number;
  readonly learners: number;
  /** Of the first phase, as all that stands beside `phases`. */
  readonly tokensADay: number;
  /** Of them, by machines that can answer audits, as far as validators can redo them. */
  readonly paidTokensADay: number;
  /** Merged tokens over what all machines would train day and night without a fault. */
  readonly utilisation: number;
  readonly outerStepSeconds: number;
  readonly claimBytes: number;
  readonly fragmentBytes: number;
  readonly stateBytes: number;
  /** Parameters, gradients and moments of one learner. */
  readonly trainingBytes: number;
  readonly kinds: readonly PlannedKind[];
  readonly phases: readonly PlannedPhase[];
  readonly journal: PlannedJournal & {
    /** To the end of the last phase; null: it never ends. */
    readonly events: number | null;
    readonly bytes: number | null;
  };
  readonly store: PlannedStore;
  readonly validators: PlannedValidators;
  /** The worst first. */
  readonly limits: readonly string[];
  /** The strongest first. */
  readonly sensitivities: readonly Sensitivity[];
}

export function planRun(manifest: RunManifest, fleet: Fleet, command: string, notes: readonly string[]): Plan {
  const sizes = sizesOf(manifest);
  const steadies = manifest.phases.map((_, phase) => steadyState(manifest, fleet, sizes, phase));
  const steady = steadies[0]!;
  const { tokensADay } = steady;
  const phases = phasesOf(manifest, steadies);
  const validators = validatorsOf(manifest, fleet, steady, 0);
  const kinds = paidKinds(manifest, fleet, steady, validators);
  const full = sumOf(kinds, ({ machines, tokensPerSecond }) => machines * tokensPerSecond * dayS);
  const outlook = outlookWith(sizes, manifest);
  return {
    format: planFormat,
    ...{ command, run: manifest.name, fleet: fleet.name, notes },
    ...{ totalParameters: sizes.totalParameters, activeParameters: sizes.activeParameters },
    ...{ learners: steady.learners, tokensADay, paidTokensADay: validators.redoneShare * paidTokensOf(kinds) },
    utilisation: tokensADay / full,
    outerStepSeconds: steady.outerStepSeconds,
    ...{ claimBytes: mean(sizes.claimBytes), fragmentBytes: mean(sizes.fragmentBytes), stateBytes: sizes.stateBytes },
    trainingBytes: trainingBytes(sizes),
    ...{ kinds, phases, journal: wholeJournal(manifest, fleet, steadies) },
    store: storeOf(manifest, steady, { phase: 0, validators }),
    validators,
    limits: [...limitsOf(manifest, { ...steady, kinds }, validators), ...laterLimits(manifest, steadies)],
    sensitivities: sensitivitiesOf(manifest, fleet, { now: outlook(manifest, fleet), outlook }),
  };
}

/** Whoever can answer audits is paid if they are also over before the pay of a tempo is reckoned. */
function paidKinds(
  manifest: RunManifest,
  { machines }: Fleet,
  { kinds }: Steady,
  { isTooLate, replaySeconds }: PlannedValidators,
): readonly PlannedKind[] {
  return kinds.map((kind, i) => {
    if (!kind.isPaid || isTooLate) return { ...kind, isPaid: false };
    const held = heldBecause(manifest, machines[i]!, { ...kind.audits, replaySeconds });
    return held === null ? kind : { ...kind, isPaid: false, limits: [held, ...kind.limits] };
  });
}

const paidTokensOf = (kinds: readonly PlannedKind[]): number =>
  sumOf(kinds, ({ isPaid, tokensADay }) => (isPaid ? tokensADay : 0));

function phasesOf({ phases }: RunManifest, steadies: readonly Steady[]): PlannedPhase[] {
  let days: number | null = 0;
  return phases.map(({ name, targetTokens, sequenceLength }, i) => {
    const { tokensADay, outerStepSeconds } = steadies[i]!;
    days = days === null || tokensADay === 0 ? null : days + targetTokens / tokensADay;
    return { name, targetTokens, sequenceLength, tokensADay, outerStepSeconds, endDays: days };
  });
}

function wholeJournal(manifest: RunManifest, fleet: Fleet, steadies: readonly Steady[]): Plan['journal'] {
  const each = steadies.map((steady, phase) => journalOf(manifest, fleet, steady, phase));
  const first = each[0]!;
  if (steadies.some(({ tokensADay }) => tokensADay === 0)) return { ...first, events: null, bytes: null };
  const total = (of: (journal: PlannedJournal) => number): number =>
    each.reduce((sum, journal, i) => {
      const days = manifest.phases[i]!.targetTokens / steadies[i]!.tokensADay;
      return sum + days * of(journal);
    }, 0);
  return { ...first, events: total(({ eventsADay }) => eventsADay), bytes: total(({ bytesADay }) => bytesADay) };
}

/** What stands in the way of a later phase and not of the first. */
function laterLimits({ phases }: RunManifest, steadies: readonly Steady[]): string[] {
  const first = new Set(steadies[0]!.kinds.filter(({ tokensADay }) => tokensADay > 0).map(({ kind }) => kind));
  return steadies.slice(1).flatMap(({ kinds, outerStepSeconds, stepTokens }, i) => {
    const { name } = phases[i + 1]!;
    const lost = kinds.filter(({ kind, tokensADay }) => tokensADay === 0 && first.has(kind));
    const grown = stepTokens / steadies[0]!.stepTokens;
    return [
      ...lost.map(({ kind, limits }) => `${kind}, from phase ${name} on: ${limits[0]}`),
      ...(grown > 1
        ? [
            `phase ${name}: an inner step has ${grown} times the tokens of the first phase's, and an outer step takes ${(outerStepSeconds / 60).toFixed(1)} min; the attention of longer sequences is not in 6 × active parameters`,
          ]
        : []),
    ];
  });
}

/** Sizes are the codec's and the plan's of fragments: other changes leave them. */
function outlookWith(sizes: FleetSizes, { codec }: RunManifest) {
  return (changed: RunManifest, fleet: Fleet): Outlook => {
    const own = changed.codec === codec ? sizes : sizesOf(changed);
    const steadies = changed.phases.map((_, phase) => steadyState(changed, fleet, own, phase));
    const { tokensADay } = steadies[0]!;
    const validators = validatorsOf(changed, fleet, steadies[0]!, 0);
    const kinds = paidKinds(changed, fleet, steadies[0]!, validators);
    return {
      endDays: phasesOf(changed, steadies).at(-1)!.endDays,
      paidShare: tokensADay > 0 ? (validators.redoneShare * paidTokensOf(kinds)) / tokensADay : 0,
    };
  };
}
