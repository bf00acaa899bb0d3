/** @file How long an outer step takes, and which share of the day a machine trains. */
import { beaconDelayBlocks } from '../journal/claims.ts';
import type { RunManifest } from '../protocol/manifest.ts';
import { type Fleet, type MachineKind, speedOf } from '../simulate/fleet/fleet-file.ts';
import type { FleetSizes } from '../simulate/fleet/sizes.ts';

/**
 * An outer step closes when the K-th learner's claim is accepted, and the grace is over. A learner claims at the end of the inner step
 * in which the outer step opened, and not before H steps since its last claim; acceptance takes the beacon (between one block and
 * two), the upload beside it, and the checks of all K, which come together with the block.
 */
export function outerStepSeconds(manifest: RunManifest, fleet: Fleet, sizes: FleetSizes): number {
  const { recipe, sync, phases, ledger } = manifest;
  const stepTokens = recipe.batchSequences * phases[0]!.sequenceLength;
  const claimBytes = sizes.claimBytes.reduce((sum, bytes) => sum + bytes, 0) / sizes.claimBytes.length;
  const beaconSeconds = ((beaconDelayBlocks - 0.5) * ledger.blockMs) / 1_000;
  const learners = fleet.machines.reduce((sum, { count }) => sum + count, 0);
  const quorum = Math.min(sync.quorum, learners);
  const { count: validators, checkSeconds } = fleet.validators;
  const checks = checkSeconds * Math.max(1, (quorum * manifest.evaluation.committee) / validators);
  const closing =
    (quorum === learners ? 0 : sync.grace.minMs / 1_000) + (quorum * claimBytes) / fleet.mergeBytesPerSecond;
  const times = fleet.machines.flatMap((kind) => {
    const up = (claimBytes * 8) / (kind.upMbps * 1e6 * (1 - kind.lossRate));
    const middle = speedOf(kind, sizes.activeParameters);
    return Array.from({ length: kind.count }, (_, i) => {
      const speed = middle * kind.spread ** ((kind.count === 1 ? 0.5 : i / (kind.count - 1)) - 0.5);
      const step = stepTokens / speed;
      const accepted = step / 2 + Math.max(up, beaconSeconds) + checks;
      return Math.max(sync.innerStepsPerOuterStep * step, accepted + closing);
    });
  });
  times.sort((a, b) => a - b);
  return Math.min(sync.deadlineMs / 1_000, times[quorum - 1]!);
}

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
