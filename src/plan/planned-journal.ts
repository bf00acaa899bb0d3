/** @file How many entries a run's journal gets in a day, and their bytes. */

import type { RunManifest } from '../protocol/manifest.ts';
import { fromDecimal } from '../protocol/names.ts';
import type { Fleet } from '../simulate/fleet/fleet-file.ts';
import type { Steady } from './steady.ts';

export interface PlannedJournal {
  readonly eventsADay: number;
  readonly bytesADay: number;
}

/**
 * Bytes of an entry by its kind, as the simulator's journals have them in the mean (docs/experiments.md): lists of merged claims apart.
 * A beacon names every validator.
 */
const bytesOf = {
  commit: 1_290,
  beacon: 1_060,
  perCandidate: 80,
  reveal: 590,
  verdict: 830,
  lease: 850,
  audit: 1_500,
  other: 800,
};
const bytesPerMergedClaim = 105;
const bytesPerShare = 140;

export function journalOf(manifest: RunManifest, fleet: Fleet, steady: Steady, phase: number): PlannedJournal {
  const { evaluation, ledger, phases, sync } = manifest;
  const { claimsADay, outerStepSeconds, tokensADay, auditsADay } = steady;
  const verdicts = claimsADay * (evaluation.committee + fromDecimal(evaluation.recheckShare));
  const leases = tokensADay / (sync.leaseSequences * phases[phase]!.sequenceLength);
  const outerSteps = 86_400 / outerStepSeconds;
  const temposADay = 86_400_000 / (ledger.tempoBlocks * ledger.blockMs);
  const { everyMerges } = phases[phase]!.release ?? manifest.release;
  const releases = outerSteps / (manifest.fragments.count * everyMerges);
  const claim = bytesOf.commit + bytesOf.beacon + bytesOf.perCandidate * fleet.validators.count + bytesOf.reveal;
  const few = 3 * outerSteps + 2 * temposADay + 4 * releases;
  return {
    eventsADay: 3 * claimsADay + verdicts + leases + 3.4 * auditsADay + few,
    bytesADay:
      claimsADay * (claim + bytesPerMergedClaim + bytesPerShare) +
      verdicts * bytesOf.verdict +
      leases * bytesOf.lease +
      3.4 * auditsADay * bytesOf.audit +
      few * bytesOf.other,
  };
}
