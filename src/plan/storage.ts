/** @file What a run's store holds and moves. */
import type { RunManifest } from '../protocol/manifest.ts';
import type { FleetSizes } from '../simulate/fleet/sizes.ts';
import { mean } from './pace.ts';
import { type Steady, sumOf } from './steady.ts';
import type { PlannedValidators } from './validators.ts';

const dayS = 86_400;

export interface PlannedStore {
  /** Under the manifest's retention, once the first releases have passed. */
  readonly bytes: number;
  readonly parts: {
    /** States and momentum of now. */
    readonly current: number;
    readonly superseded: number;
    readonly claims: number;
    readonly auditStates: number;
  };
  /** Of each release's folder: all of them stay. */
  readonly releaseBytes: number;
  readonly releasesADay: number;
  /** Traffic of all: claims and states in; fragments, claims, states out. */
  readonly bytesInADay: number;
  readonly bytesOutADay: number;
}

export function storeOf(
  manifest: RunManifest,
  steady: Steady,
  { phase, validators }: { readonly phase: number; readonly validators: PlannedValidators },
): PlannedStore {
  const { sizes, claimsADay, outerStepSeconds, kinds, answersADay } = steady;
  const { everyMerges } = manifest.phases[phase]!.release ?? manifest.release;
  const merges = everyMerges * manifest.fragments.count;
  const releaseDays = (merges * outerStepSeconds) / dayS;
  const kept = manifest.release.keepReleases + 1;
  const parts = {
    current: 2 * sizes.parametersBytes,
    superseded: kept * 2 * merges * mean(sizes.fragmentBytes),
    claims: kept * claimsADay * releaseDays * mean(sizes.claimBytes),
    auditStates: kept * answersADay * releaseDays * 2 * sizes.stateBytes,
  };
  const part = kinds.filter(({ tokensADay }) => tokensADay > 0);
  return {
    bytes: Object.values(parts).reduce((sum, each) => sum + each, 0),
    parts,
    releaseBytes: releaseBytesOf(manifest, sizes),
    releasesADay: 1 / releaseDays,
    bytesInADay: sumOf(part, ({ machines, bytesUpADay }) => machines * bytesUpADay),
    bytesOutADay:
      sumOf(part, ({ machines, bytesDownADay }) => machines * bytesDownADay) +
      validators.count * validators.bytesDownADay,
  };
}

const releaseBytesOf = ({ release }: RunManifest, { totalParameters }: FleetSizes): number =>
  (release.dtype === 'bf16' ? 2 : 4) * totalParameters;
