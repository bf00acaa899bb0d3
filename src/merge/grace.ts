/**
 * @file How long a syncer waits for late claims once a quorum is there (Decoupled DiLoCo, arXiv:2604.21428): grace =
 * γ·(τ·ξ_step − ξ_quorum − ξ_sync), clamped; what remains of the time that learners train anyway until the fragment's
 * merge can be taken in. ξ are moving averages of what was measured. Steers when, never whom: no result depends on it.
 */

export interface GraceOptions {
  /** Part of the slack that is waited for, 0 to 1. */
  readonly gamma: number;
  /** τ: inner steps that learners train between a fragment's claim and its take-in. */
  readonly overlapSteps: number;
  readonly minMs: number;
  readonly maxMs: number;
  /** Weight of a new measurement in the moving averages, 0 to 1. */
  readonly smoothing: number;
}

/** Moving averages in milliseconds; null until first measured. */
export interface GraceAverages {
  /** ξ_step: one inner step of a learner. */
  readonly stepMs: number | null;
  /** ξ_quorum: from fragment due to quorum. */
  readonly quorumMs: number | null;
  /** ξ_sync: from merge begun to fragment published. */
  readonly syncMs: number | null;
}

export const unmeasured: GraceAverages = { stepMs: null, quorumMs: null, syncMs: null };

/** ξ ← ξ + a·(x − ξ) for each measured x; the first measurement is taken as it is. Bad measurements are left out. */
export function observeTimes(
  averages: GraceAverages,
  measured: { readonly [K in keyof GraceAverages]?: number },
  { smoothing }: GraceOptions,
): GraceAverages {
  const next = (old: number | null, value: number | undefined): number | null => {
    if (value === undefined || !Number.isFinite(value) || value < 0) return old;
    return old === null ? value : old + smoothing * (value - old);
  };
  return {
    stepMs: next(averages.stepMs, measured.stepMs),
    quorumMs: next(averages.quorumMs, measured.quorumMs),
    syncMs: next(averages.syncMs, measured.syncMs),
  };
}

/** `minMs` while the step time is unknown. */
export function graceMs({ stepMs, quorumMs, syncMs }: GraceAverages, options: GraceOptions): number {
  if (stepMs === null) return options.minMs;
  const slack = options.overlapSteps * stepMs - (quorumMs ?? 0) - (syncMs ?? 0);
  return Math.min(options.maxMs, Math.max(options.minMs, options.gamma * slack));
}
