/** @file How long an outer step takes, and which share of the day a machine trains. */
import { beaconDelayBlocks } from '../journal/claims.ts';
import type { RunManifest } from '../protocol/manifest.ts';
import { type Fleet, type MachineKind, speedOf } from '../simulate/fleet/fleet-file.ts';
import type { FleetSizes } from '../simulate/fleet/sizes.ts';

/**
 * An outer step closes when the K-th learner's claim is accepted, and the grace is over. A learner claims at the end of the inner step
 * in which the outer step opened, and not before H steps since its last claim; acceptance takes the beacon (two blocks and, in
 * the mean, half of one), the upload beside it, and a check.
 */
export function outerStepSeconds(manifest: RunManifest, fleet: Fleet, sizes: FleetSizes): number {
  const { recipe, sync, phases, ledger } = manifest;
  const stepTokens = recipe.batchSequences * phases[0]!.sequenceLength;
  const claimBytes = sizes.claimBytes.reduce((sum, bytes) => sum + bytes, 0) / sizes.claimBytes.length;
  const beaconSeconds = ((beaconDelayBlocks - 0.5) * ledger.blockMs) / 1_000;
  const times = fleet.machines.flatMap((kind) => {
    const up = (claimBytes * 8) / (kind.upMbps * 1e6 * (1 - kind.lossRate));
    const middle = speedOf(kind, sizes.activeParameters);
    return Array.from({ length: kind.count }, (_, i) => {
      const speed = middle * kind.spread ** ((kind.count === 1 ? 0.5 : i / (kind.count - 1)) - 0.5);
      const step = stepTokens / speed;
      const accepted = step / 2 + Math.max(up, beaconSeconds) + fleet.validators.checkSeconds;
      return Math.max(sync.innerStepsPerOuterStep * step, accepted);
    });
  });
  times.sort((a, b) => a - b);
  const quorum = Math.min(sync.quorum, times.length);
  const merge = (quorum * claimBytes) / fleet.mergeBytesPerSecond;
  const toQuorum = times[quorum - 1]!;
  const grace = quorum === times.length ? 0 : sync.grace.minMs / 1_000;
  return Math.min(sync.deadlineMs / 1_000, toQuorum + grace + merge);
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
