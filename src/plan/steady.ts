/** @file A run's steady state under a fleet: what each kind of machine does, and what all do together. */
import type { FleetSizes } from '../simulate/fleet/sizes.ts';

export interface PlannedKind {
  readonly kind: string;
  readonly machines: number;
  readonly tokensPerSecond: number;
  /** Share of the day in which one machine trains: hours, failures, stalls, slow spells. */
  readonly availability: number;
  readonly stepSeconds: number;
  readonly claimsADay: number;
  /** Of one learner and day. */
  readonly bytesUpADay: number;
  readonly bytesDownADay: number;
  readonly claimUploadSeconds: number;
  readonly joinSeconds: number;
  /** Merged tokens of all machines of the kind and day; 0 where they cannot take part. */
  readonly tokensADay: number;
  /** Why they cannot take part, or what holds them back. */
  readonly limits: readonly string[];
}

/** Counts that follow from kinds and outer steps. */
export interface Steady {
  readonly sizes: FleetSizes;
  readonly outerStepSeconds: number;
  readonly kinds: readonly PlannedKind[];
  readonly claimsADay: number;
  readonly learners: number;
  readonly hotkeys: number;
}
