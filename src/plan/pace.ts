/** @file How long an outer step takes, and which share of the day a machine trains. */
import { beaconDelayBlocks } from '../journal/claims.ts';
import { graceMs } from '../merge/grace.ts';
import type { RunManifest } from '../protocol/manifest.ts';
import { fromDecimal } from '../protocol/names.ts';
import type { Fleet, MachineKind } from '../simulate/fleet/fleet-file.ts';
import type { FleetSizes } from '../simulate/fleet/sizes.ts';

/** A learner of the fleet, as far as an outer step waits for it. */
export interface Pace {
  readonly kind: MachineKind;
  readonly tokensPerSecond: number;
}

/**
 * An outer step closes when the K-th learner's claim is accepted, and the grace is over; or, where all are awaited, with the last.
 * A learner claims at the end of the inner step in which the outer step opened, and not before H steps since its last claim: so
 * learners together have at most so many claims for it as they make in its time. Acceptance takes the beacon (between one
 * block and two), the upload beside it, and the checks of all K, which come together with the block.
 */
export function outerStepSeconds(
  manifest: RunManifest,
  fleet: Fleet,
  { sizes, learners, stepTokens }: { sizes: FleetSizes; learners: readonly Pace[]; stepTokens: number },
): number {
  const { sync, ledger, evaluation } = manifest;
  const deadline = sync.deadlineMs / 1_000;
  if (learners.length === 0) return deadline;
  const claimBytes = mean(sizes.claimBytes);
  const quorum = Math.min(sync.quorum, learners.length);
  const beaconSeconds = ((beaconDelayBlocks - 0.5) * ledger.blockMs) / 1_000;
  const { count: validators, checkSeconds } = fleet.validators;
  const checks = checkSeconds * Math.max(1, (quorum * evaluation.committee) / validators);
  const steps = learners.map(({ tokensPerSecond }) => stepTokens / tokensPerSecond);
  const accepted = learners
    .map(({ kind }, i) => steps[i]! / 2 + Math.max(uploadSeconds(kind, claimBytes), beaconSeconds) + checks)
    .sort((a, b) => a - b);
  const intervals = steps.map((step) => sync.innerStepsPerOuterStep * step).sort((a, b) => a - b);
  const merging = (quorum * claimBytes) / fleet.mergeBytesPerSecond;
  // All are awaited: the slowest says when.
  if (quorum === learners.length) return Math.min(deadline, Math.max(intervals.at(-1)!, accepted.at(-1)! + merging));
  const claimsASecond = intervals.reduce((sum, interval) => sum + 1 / interval, 0);
  const filling = Math.max(quorum / claimsASecond, accepted[quorum - 1]!);
  const { gamma, minMs, maxMs } = sync.grace;
  const averages = { stepMs: 1_000 * meanStep(steps), quorumMs: 1_000 * filling, syncMs: 1_000 * merging };
  const terms = { gamma: fromDecimal(gamma), overlapSteps: sync.innerStepsPerOuterStep, minMs, maxMs, smoothing: 1 };
  return Math.min(deadline, filling + graceMs(averages, terms) / 1_000 + merging);
}

/** As the syncer averages them: at each commit, so that fast learners count more often. */
function meanStep(steps: readonly number[]): number {
  const weight = steps.reduce((sum, step) => sum + 1 / step, 0);
  return steps.length / weight;
}

export const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

export const uploadSeconds = ({ upMbps, lossRate }: MachineKind, bytes: number): number =>
  (bytes * 8) / (upMbps * 1e6 * (1 - lossRate));
export const downloadSeconds = ({ downMbps, lossRate }: MachineKind, bytes: number): number =>
  (bytes * 8) / (downMbps * 1e6 * (1 - lossRate));

/** Hours, then crashes (away, coming back, half a claim's work lost), stalls and slow spells. */
export function shareUp(
  kind: MachineKind,
  { joinSeconds, claimSeconds }: { readonly joinSeconds: number; readonly claimSeconds: number },
): number {
  const perCrash = kind.restartSeconds + joinSeconds + claimSeconds / 2;
  const days = kind.hoursADay / 24;
  const crashes = 1 / (1 + (kind.failuresADay * perCrash) / 86_400);
  const stalls = 1 / (1 + (kind.stallsADay * kind.stallSeconds) / 86_400);
  const slow = Math.min(1, (kind.slowdownsADay * kind.slowdownMinutes) / 1_440);
  // One joining a day for whoever is off at night.
  const coming = kind.hoursADay < 24 ? Math.max(0, 1 - joinSeconds / (kind.hoursADay * 3_600)) : 1;
  return days * coming * crashes * stalls * (1 - slow + slow / kind.slowdownFactor);
}
