/**
 * @file What a fleet makes of a manifest, by arithmetic: time, bytes, journal, store, validators, what limits it and what would change
 * it most. The steady state of one phase; the simulator (`src/simulate/fleet`) has the dynamics, and a test holds the two
 * together. Nothing here is measured on the machines that it speaks of.
 */

import { revealMsOf } from '../journal/queries.ts';
import { codecNames, type RunManifest } from '../protocol/manifest.ts';
import { fromDecimal } from '../protocol/names.ts';
import { mfuRange } from '../simulate/fleet/accelerators.ts';
import { type Fleet, type MachineKind, speedOf } from '../simulate/fleet/fleet-file.ts';
import { type FleetSizes, sizesOf } from '../simulate/fleet/sizes.ts';
import { outerStepSeconds, shareUp } from './pace.ts';
import { journalOf, type PlannedJournal } from './planned-journal.ts';
import type { PlannedKind, Steady } from './steady.ts';

export const planFormat = 'accrete-plan/1';
const dayS = 86_400;

export interface PlannedPhase {
  readonly name: string;
  readonly targetTokens: number;
  /** From the start of the run; null: never. */
  readonly endDays: number | null;
}

export interface Sensitivity {
  readonly change: string;
  /** Days to the end of the last phase then, over those of the plan. */
  readonly timeFactor: number | null;
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
  readonly tokensADay: number;
  /** Merged tokens over what all machines would train day and night without a fault. */
  readonly utilisation: number;
  readonly outerStepSeconds: number;
  readonly claimBytes: number;
  readonly fragmentBytes: number;
  readonly stateBytes: number;
  readonly kinds: readonly PlannedKind[];
  readonly phases: readonly PlannedPhase[];
  readonly journal: PlannedJournal;
  /** Under the manifest's retention: claims, superseded fragments and releases that are kept. */
  readonly storeBytes: number;
  readonly validators: {
    /** Machine-seconds of the median machine a day: replays, gain tests, checks. */
    readonly replaySecondsADay: number;
    readonly gainSecondsADay: number;
    readonly checkSecondsADay: number;
    /** Over the learners' own training time; the bar is 0.2. */
    readonly shareOfTraining: number;
    readonly needed: number;
  };
  readonly limits: readonly string[];
  /** The strongest first. */
  readonly sensitivities: readonly Sensitivity[];
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
const sumOf = <T>(items: readonly T[], of: (item: T) => number): number =>
  items.reduce((total, item) => total + of(item), 0);

export function planRun(manifest: RunManifest, fleet: Fleet, command: string, notes: readonly string[]): Plan {
  const steady = steadyState(manifest, fleet);
  const { sizes, kinds } = steady;
  const tokensADay = sumOf(kinds, (kind) => kind.tokensADay);
  const full = sumOf(kinds, ({ machines, tokensPerSecond }) => machines * tokensPerSecond * dayS);
  return {
    format: planFormat,
    ...{ command, run: manifest.name, fleet: fleet.name, notes },
    totalParameters: sizes.totalParameters,
    activeParameters: sizes.activeParameters,
    learners: steady.learners,
    tokensADay,
    utilisation: tokensADay / full,
    outerStepSeconds: steady.outerStepSeconds,
    claimBytes: mean(sizes.claimBytes),
    fragmentBytes: mean(sizes.fragmentBytes),
    stateBytes: sizes.stateBytes,
    ...{ kinds, phases: phasesOf(manifest, tokensADay), journal: journalOf(manifest, fleet, steady) },
    storeBytes: storeBytesOf(manifest, steady),
    validators: validatorsOf(manifest, fleet, steady),
    limits: limitsOf(manifest, steady),
    sensitivities: sensitivitiesOf(manifest, fleet, tokensADay),
  };
}

export function steadyState(manifest: RunManifest, fleet: Fleet): Steady {
  const sizes = sizesOf(manifest);
  const seconds = outerStepSeconds(manifest, fleet, sizes);
  const kinds = fleet.machines.map((kind) => plannedKind(manifest, kind, sizes, seconds));
  return {
    ...{ sizes, kinds, outerStepSeconds: seconds },
    claimsADay: sumOf(kinds, ({ machines, claimsADay }) => machines * claimsADay),
    learners: sumOf(fleet.machines, ({ count }) => count),
    hotkeys: sumOf(fleet.machines, ({ count, learnersPerHotkey }) => Math.ceil(count / learnersPerHotkey)),
  };
}

/** Speeds of a kind from the slowest to the fastest, as the simulator has them. */
export function speedsOf({ count, spread, ...kind }: MachineKind, activeParameters: number): number[] {
  const middle = speedOf({ count, spread, ...kind }, activeParameters);
  return Array.from({ length: count }, (_, i) => middle * spread ** ((count === 1 ? 0.5 : i / (count - 1)) - 0.5));
}

function plannedKind(manifest: RunManifest, kind: MachineKind, sizes: FleetSizes, outerSeconds: number): PlannedKind {
  const { recipe, sync, phases, fragments, audit } = manifest;
  const stepTokens = recipe.batchSequences * phases[0]!.sequenceLength;
  const speeds = speedsOf(kind, sizes.activeParameters);
  const [claimBytes, fragmentBytes] = [mean(sizes.claimBytes), mean(sizes.fragmentBytes)];
  const up = (bytes: number): number => (bytes * 8) / (kind.upMbps * 1e6 * (1 - kind.lossRate));
  const down = (bytes: number): number => (bytes * 8) / (kind.downMbps * 1e6 * (1 - kind.lossRate));
  const joinSeconds = down(sizes.parametersBytes) + kind.latencyMs / 1_000;
  const availability = shareUp(kind, { joinSeconds, claimSeconds: outerSeconds });
  const leaseTokens = 2 * sync.leaseSequences * phases[0]!.sequenceLength;
  const limits: string[] = [];
  const uploadSeconds = up(claimBytes);
  const revealSeconds = revealMsOf(manifest) / 1_000;
  const isShut = uploadSeconds > revealSeconds;
  if (isShut)
    limits.push(
      `a claim's upload takes ${uploadSeconds.toFixed(0)} s, more than the ${revealSeconds} s in which it must be revealed: nothing of it is merged`,
    );
  const takeInSeconds = down(fragmentBytes);
  const isBehind = takeInSeconds > outerSeconds * fragments.count * sync.maxStaleness;
  if (isBehind) limits.push(`a fragment comes down in ${takeInSeconds.toFixed(0)} s: its claims are always too stale`);
  else if (takeInSeconds > outerSeconds)
    limits.push(
      `a fragment comes down in ${takeInSeconds.toFixed(0)} s, longer than an outer step: its claims are stale`,
    );
  const answerSeconds = up(2 * sizes.stateBytes);
  if (audit.perTempo > 0 && answerSeconds > audit.answerMs / 1_000)
    limits.push(
      `an audit's two states take ${answerSeconds.toFixed(0)} s to upload, and ${audit.answerMs / 1_000} s are given: its work is forfeit, not paid`,
    );
  let held = 0;
  const tokens = speeds.map((speed) => {
    const interval = intervalOf(speed, { stepTokens, innerSteps: sync.innerStepsPerOuterStep, outerSeconds });
    // Leases close as commits cover them: two are open at most.
    const most = leaseTokens / interval;
    if (speed > most) held++;
    return Math.min(speed, most);
  });
  if (held > 0) limits.push(`${held} of ${kind.count} are faster than two leases in each outer step allow`);
  const intervals = speeds.map((speed) =>
    intervalOf(speed, { stepTokens, innerSteps: sync.innerStepsPerOuterStep, outerSeconds }),
  );
  const claimsADay = (availability * sumOf(intervals, (interval) => dayS / interval)) / kind.count;
  return {
    kind: kind.kind,
    machines: kind.count,
    tokensPerSecond: mean(speeds),
    availability,
    stepSeconds: mean(speeds.map((speed) => stepTokens / speed)),
    claimsADay,
    bytesUpADay: claimsADay * claimBytes,
    bytesDownADay: (availability * dayS * fragmentBytes) / outerSeconds,
    claimUploadSeconds: uploadSeconds,
    joinSeconds,
    tokensADay: isShut || isBehind ? 0 : availability * dayS * sumOf(tokens, (each) => each),
    limits,
  };
}

function intervalOf(
  speed: number,
  { stepTokens, innerSteps, outerSeconds }: { stepTokens: number; innerSteps: number; outerSeconds: number },
): number {
  return Math.max((innerSteps * stepTokens) / speed, outerSeconds);
}

function phasesOf({ phases }: RunManifest, tokensADay: number): PlannedPhase[] {
  let tokens = 0;
  return phases.map(({ name, targetTokens }) => {
    tokens += targetTokens;
    return { name, targetTokens, endDays: tokensADay === 0 ? null : tokens / tokensADay };
  });
}

/** Current fragments with momentum, and of each kept release its claims, its superseded fragments and its folder. */
function storeBytesOf(
  { release, fragments }: RunManifest,
  { sizes, claimsADay, outerStepSeconds: seconds }: Steady,
): number {
  const releaseSeconds = release.everyMerges * fragments.count * seconds;
  const claims = (claimsADay * releaseSeconds) / dayS;
  const merges = release.everyMerges * fragments.count;
  const perRelease = claims * mean(sizes.claimBytes) + 2 * merges * mean(sizes.fragmentBytes) + sizes.parametersBytes;
  return 2 * sizes.parametersBytes + (release.keepReleases + 1) * perRelease;
}

function validatorsOf(manifest: RunManifest, fleet: Fleet, steady: Steady): Plan['validators'] {
  const { recipe, sync, phases, audit, evaluation, ledger } = manifest;
  const { kinds, claimsADay, hotkeys, sizes } = steady;
  const { sequenceLength } = phases[0]!;
  const speeds = fleet.machines.flatMap((kind) => speedsOf(kind, sizes.activeParameters)).sort((a, b) => a - b);
  const speed = fleet.validators.tokensPerSecond ?? speeds[speeds.length >> 1]!;
  const temposADay = (dayS * 1_000) / (ledger.tempoBlocks * ledger.blockMs);
  const segment = (sync.stateRootEverySteps * recipe.batchSequences * sequenceLength) / speed;
  // The first of a tempo is redone by two, a tenth of the others too (`audits.ts`).
  const redone =
    audit.perTempo === 0 ? 0 : audit.perTempo + 1 + fromDecimal(evaluation.recheckShare) * (audit.perTempo - 1);
  const verdicts = claimsADay * (evaluation.committee + fromDecimal(evaluation.recheckShare));
  const replaySecondsADay = hotkeys * temposADay * redone * segment;
  const gainSecondsADay =
    (verdicts * fromDecimal(evaluation.gainShare) * 2 * evaluation.gainSequences * sequenceLength) / 3 / speed;
  const checkSecondsADay = verdicts * fleet.validators.checkSeconds;
  const work = replaySecondsADay + gainSecondsADay + checkSecondsADay;
  const training = sumOf(kinds, ({ machines, availability }) => machines * availability * dayS);
  return {
    ...{ replaySecondsADay, gainSecondsADay, checkSecondsADay },
    shareOfTraining: training === 0 ? 0 : work / training,
    needed: Math.max(evaluation.committee, Math.ceil(work / dayS)),
  };
}

function limitsOf(manifest: RunManifest, { kinds, sizes }: Steady): string[] {
  const limits = kinds.flatMap(({ kind, limits: own }) => own.map((limit) => `${kind}: ${limit}`));
  if (kinds.every(({ tokensADay }) => tokensADay === 0)) limits.unshift('no machine of the fleet can take part');
  if (limits.length === 0)
    limits.push('tokens a second: nothing but the machines’ own speed and hours limits this run');
  if (sizes.stateBytes > 1e11)
    limits.push(
      `a learner's state has ${(sizes.stateBytes / 1e9).toFixed(0)} GB: each keeps ${manifest.audit.window} of them or more on its disk`,
    );
  return limits;
}

function sensitivitiesOf(manifest: RunManifest, fleet: Fleet, tokensADay: number): Sensitivity[] {
  const each = (change: (kind: MachineKind) => Partial<MachineKind>): Fleet => ({
    ...fleet,
    machines: fleet.machines.map((kind) => ({ ...kind, ...change(kind) })),
  });
  const faster = (factor: number): Fleet =>
    each((kind) =>
      kind.tokensPerSecond === undefined
        ? { mfu: Math.min(1, factor * (kind.mfu ?? mfuRange.middle)) }
        : { tokensPerSecond: factor * kind.tokensPerSecond },
    );
  const withCodec = (codec: RunManifest['codec']): RunManifest => ({ ...manifest, codec });
  const cases: [string, RunManifest, Fleet][] = [
    ['twice the machines', manifest, each(({ count }) => ({ count: 2 * count }))],
    ['half the tokens a second (or the MFU)', manifest, faster(0.5)],
    ['twice the tokens a second (or the MFU)', manifest, faster(2)],
    ['ten times the upload', manifest, each(({ upMbps }) => ({ upMbps: 10 * upMbps }))],
    ['a tenth of the upload', manifest, each(({ upMbps }) => ({ upMbps: upMbps / 10 }))],
    ['ten times the download', manifest, each(({ downMbps }) => ({ downMbps: 10 * downMbps }))],
    ['every hour of the day', manifest, each(() => ({ hoursADay: 24 }))],
    ['ten times the failures', manifest, each(({ failuresADay }) => ({ failuresADay: 10 * failuresADay }))],
    [
      'ten times the lease',
      { ...manifest, sync: { ...manifest.sync, leaseSequences: 10 * manifest.sync.leaseSequences } },
      fleet,
    ],
    ...codecNames
      .filter((codec) => codec !== manifest.codec)
      .map((codec): [string, RunManifest, Fleet] => [`codec ${codec}`, withCodec(codec), fleet]),
  ];
  return cases
    .map(([change, changed, machines]) => {
      const then = sumOf(steadyState(changed, machines).kinds, (kind) => kind.tokensADay);
      return { change, timeFactor: then === 0 || tokensADay === 0 ? null : tokensADay / then };
    })
    .sort((a, b) => distance(b) - distance(a));
}

const distance = ({ timeFactor }: Sensitivity): number =>
  timeFactor === null ? Number.POSITIVE_INFINITY : Math.abs(Math.log(timeFactor));
