/** @file A run's steady state under a fleet in one phase: what each kind of machine does and may do, and what all do together. */
import { revealMsOf } from '../journal/queries.ts';
import type { RunManifest } from '../protocol/manifest.ts';
import { keptStates } from '../roles/learner/state-folder.ts';
import type { Fleet, MachineKind } from '../simulate/fleet/fleet-file.ts';
import { memoryGibOf, speedOf } from '../simulate/fleet/fleet-file.ts';
import type { FleetSizes } from '../simulate/fleet/sizes.ts';
import { type AskedAudits, auditsAskedOf } from './audits.ts';
import { downloadSeconds, mean, outerStepSeconds, type Pace, shareUp, uploadSeconds } from './pace.ts';
import { sayBytes, sayRate, saySeconds } from './sentences.ts';

const dayS = 86_400;
/** Text of a lease: ids of four bytes, and what pages bring along (decision 0030). */
const bytesPerToken = 4.2;

export interface PlannedKind {
  readonly kind: string;
  readonly machines: number;
  readonly hotkeys: number;
  readonly tokensPerSecond: number;
  /** Share of the day in which one machine trains: hours, failures, stalls, slow spells. */
  readonly availability: number;
  readonly stepSeconds: number;
  readonly claimsADay: number;
  /** Of one learner and day: claims, and the states that audits ask for; no more than its uplink carries. */
  readonly bytesUpADay: number;
  readonly claimBytesADay: number;
  /** As asked. */
  readonly auditBytesADay: number;
  /** Published fragments, and text. */
  readonly bytesDownADay: number;
  readonly claimUploadSeconds: number;
  readonly joinSeconds: number;
  readonly audits: AskedAudits;
  /** States that it keeps on its disk for audits. */
  readonly diskBytes: number;
  /** Merged tokens of all machines of the kind and day; 0 where they cannot take part. */
  readonly tokensADay: number;
  /** Merged work is paid once an audit has passed: false where none can. */
  readonly isPaid: boolean;
  /** Why they cannot take part, are not paid, or what holds them back. */
  readonly limits: readonly string[];
}

/** Counts that follow from kinds and outer steps. */
export interface Steady {
  readonly sizes: FleetSizes;
  readonly stepTokens: number;
  readonly outerStepSeconds: number;
  readonly kinds: readonly PlannedKind[];
  readonly claimsADay: number;
  readonly tokensADay: number;
  readonly learners: number;
  readonly hotkeys: number;
  /** Of all learners that take part: drawn, and those that their links let them answer. */
  readonly auditsADay: number;
  readonly answersADay: number;
}

/** Parameters, gradients and two moments in float32; activations come on top. */
export const trainingBytes = ({ totalParameters }: FleetSizes): number => 16 * totalParameters;

export function steadyState(manifest: RunManifest, fleet: Fleet, sizes: FleetSizes, phase: number): Steady {
  const stepTokens = manifest.recipe.batchSequences * manifest.phases[phase]!.sequenceLength;
  const able = fleet.machines.filter((kind) => refusals(manifest, kind, sizes).length === 0);
  const learners = able.flatMap((kind): Pace[] =>
    speedsOf(kind, sizes.activeParameters)
      .slice(0, Math.max(1, Math.round((kind.count * kind.hoursADay) / 24)))
      .map((tokensPerSecond) => ({ kind, tokensPerSecond })),
  );
  const seconds = outerStepSeconds(manifest, fleet, { sizes, learners, stepTokens });
  const terms = { sizes, stepTokens, outerSeconds: seconds, sequenceLength: manifest.phases[phase]!.sequenceLength };
  const kinds = fleet.machines.map((kind) => plannedKind(manifest, kind, terms));
  const part = kinds.filter(({ tokensADay }) => tokensADay > 0);
  return {
    ...{ sizes, stepTokens, kinds, outerStepSeconds: seconds },
    claimsADay: sumOf(part, ({ machines, claimsADay }) => machines * claimsADay),
    tokensADay: sumOf(kinds, (kind) => kind.tokensADay),
    learners: sumOf(fleet.machines, ({ count }) => count),
    hotkeys: sumOf(kinds, (kind) => kind.hotkeys),
    auditsADay: sumOf(part, ({ machines, audits }) => machines * audits.countADay),
    answersADay: sumOf(part, ({ machines, audits, isPaid }) => (isPaid ? machines * audits.countADay : 0)),
  };
}

export const sumOf = <T>(items: readonly T[], of: (item: T) => number): number =>
  items.reduce((total, item) => total + of(item), 0);

/** Speeds of a kind from the fastest to the slowest, as the simulator has them. */
export function speedsOf(kind: MachineKind, activeParameters: number): number[] {
  const { count, spread } = kind;
  const middle = speedOf(kind, activeParameters);
  return Array.from({ length: count }, (_, i) => middle * spread ** (0.5 - (count === 1 ? 0.5 : i / (count - 1))));
}

/** Why nothing of a kind's work can be merged, whatever the others do. */
function refusals(manifest: RunManifest, kind: MachineKind, sizes: FleetSizes): string[] {
  const found: string[] = [];
  const needs = trainingBytes(sizes);
  const memoryGib = memoryGibOf(kind);
  if (memoryGib !== null && memoryGib * 2 ** 30 < needs)
    found.push(
      `${memoryGib} GiB of memory in a machine; parameters, gradients and moments in float32 take ${sayBytes(needs)}: it cannot train this model at the speed of the table (give tokensPerSecond of a program that can)`,
    );
  const seconds = uploadSeconds(kind, mean(sizes.claimBytes));
  const revealSeconds = revealMsOf(manifest) / 1_000;
  if (seconds > revealSeconds)
    found.push(
      `a claim of ${sayBytes(mean(sizes.claimBytes))} takes ${saySeconds(seconds)} to upload at ${sayRate(kind.upMbps)}, more than the ${saySeconds(revealSeconds)} in which it must be revealed (sync.revealMs): nothing of it is merged`,
    );
  return found;
}

interface KindTerms {
  readonly sizes: FleetSizes;
  readonly stepTokens: number;
  readonly sequenceLength: number;
  readonly outerSeconds: number;
}

function plannedKind(manifest: RunManifest, kind: MachineKind, terms: KindTerms): PlannedKind {
  const { sizes, outerSeconds } = terms;
  const rates = ratesOf(manifest, kind, terms);
  const { speeds, most, availability, claimsADay, stepSeconds, takeInSeconds } = rates;
  const audits = auditsAskedOf(manifest, kind, { sizes, stepSeconds, availability });
  const claimBytesADay = claimsADay * mean(sizes.claimBytes);
  const carried = (availability * dayS * kind.upMbps * 1e6 * (1 - kind.lossRate)) / 8;
  const out = [
    ...refusals(manifest, kind, sizes),
    ...overloads(manifest, { ...rates, ...terms, claimBytesADay, carried }),
  ];
  const faults = out.length > 0 ? [] : audits.faults;
  const held = speeds.filter((speed, i) => speed > most[i]!).length;
  const merged = speeds.reduce((sum, speed, i) => sum + Math.min(speed, most[i]!), 0);
  return {
    kind: kind.kind,
    machines: kind.count,
    hotkeys: Math.ceil(kind.count / kind.learnersPerHotkey),
    tokensPerSecond: mean(speeds),
    ...{ availability, stepSeconds, claimsADay, claimBytesADay },
    bytesUpADay: Math.min(carried, claimBytesADay + audits.bytesADay),
    auditBytesADay: audits.bytesADay,
    bytesDownADay:
      availability *
      dayS *
      (mean(sizes.fragmentBytes) / Math.max(outerSeconds, takeInSeconds) + mean(speeds) * bytesPerToken),
    claimUploadSeconds: uploadSeconds(kind, mean(sizes.claimBytes)),
    joinSeconds: rates.joinSeconds,
    audits,
    diskBytes: manifest.audit.perTempo === 0 ? 0 : keptStates(manifest.audit.window) * sizes.stateBytes,
    tokensADay: out.length > 0 ? 0 : availability * dayS * merged,
    isPaid: out.length === 0 && faults.length === 0,
    limits: [...out, ...faults, ...heldBack({ takeIn: takeInSeconds, outerSeconds, held, kind })],
  };
}

interface KindRates {
  readonly speeds: readonly number[];
  /** Tokens a second that its leases let each of them train. */
  readonly most: readonly number[];
  readonly availability: number;
  readonly claimsADay: number;
  readonly stepSeconds: number;
  readonly joinSeconds: number;
  /** Of a published fragment. */
  readonly takeInSeconds: number;
}

function ratesOf(manifest: RunManifest, kind: MachineKind, terms: KindTerms): KindRates {
  const { sync } = manifest;
  const { sizes, stepTokens, outerSeconds, sequenceLength } = terms;
  const speeds = speedsOf(kind, sizes.activeParameters);
  const joinSeconds = downloadSeconds(kind, sizes.parametersBytes) + kind.latencyMs / 1_000;
  const intervals = speeds.map((speed) => Math.max((sync.innerStepsPerOuterStep * stepTokens) / speed, outerSeconds));
  const availability = shareUp(kind, { joinSeconds, claimSeconds: mean(intervals) });
  return {
    ...{ speeds, availability, joinSeconds },
    // Leases close as commits cover them: two are open at most.
    most: intervals.map((interval) => (2 * sync.leaseSequences * sequenceLength) / interval),
    claimsADay: availability * mean(intervals.map((interval) => dayS / interval)),
    stepSeconds: mean(speeds.map((speed) => stepTokens / speed)),
    takeInSeconds: downloadSeconds(kind, mean(sizes.fragmentBytes)),
  };
}

/** What its links cannot carry, so that nothing of it is merged. */
function overloads(
  { fragments, sync }: RunManifest,
  load: KindRates & KindTerms & { readonly claimBytesADay: number; readonly carried: number },
): string[] {
  const { takeInSeconds, outerSeconds, sizes, claimBytesADay, carried } = load;
  const isStale = takeInSeconds > outerSeconds * fragments.count * Math.max(1, sync.maxStaleness);
  return [
    ...(isStale
      ? [
          `a fragment of ${sayBytes(mean(sizes.fragmentBytes))} comes down in ${saySeconds(takeInSeconds)}: its claims are always too stale`,
        ]
      : []),
    ...(claimBytesADay > carried
      ? [`claims of ${sayBytes(claimBytesADay)} a day are more than its uplink carries, ${sayBytes(carried)}`]
      : []),
  ];
}

function heldBack(options: { takeIn: number; outerSeconds: number; held: number; kind: MachineKind }): string[] {
  const { takeIn, outerSeconds, held, kind } = options;
  return [
    ...(takeIn > outerSeconds
      ? [
          `a fragment comes down in ${saySeconds(takeIn)}, longer than an outer step of ${saySeconds(outerSeconds)}: it leaves versions out, and its claims are stale`,
        ]
      : []),
    ...(held > 0
      ? [`${held} of ${kind.count} are faster than two leases in each claim allow (sync.leaseSequences)`]
      : []),
  ];
}
