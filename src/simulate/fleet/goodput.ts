/**
 * @file Goodput and uptime under failing chips, beside the rows of Decoupled DiLoCo (arXiv:2604.21428). Goodput: merged tokens over
 * what all chips would train without a failure. Uptime: share of time in which at least one learner trains. Two constants are
 * not published where we could read them and are solved from two of the paper's own rows; every other row is a prediction.
 */
import { type Fleet, fleetSchema } from './fleet-file.ts';
import type { Sample } from './fleet-run.ts';

export interface GoodputRow {
  readonly chips: number;
  /** Learners; `dp`: one job of all chips that starts again as a whole. */
  readonly learners: number;
  readonly kind: 'data-parallel' | 'elastic' | 'decoupled';
  /** The paper's, percent. */
  readonly published: number;
}

const row = (chips: number, kind: GoodputRow['kind'], learners: number, published: number): GoodputRow => ({
  ...{ chips, kind, learners, published },
});

export const publishedRows: readonly GoodputRow[] = [
  row(1.2e6, 'data-parallel', 1, 27),
  row(1.2e6, 'elastic', 1, 58),
  row(1.2e6, 'decoupled', 8, 88),
  row(1.2e6, 'decoupled', 16, 93),
  row(2.4e6, 'data-parallel', 1, 18),
  row(2.4e6, 'elastic', 1, 40),
  row(2.4e6, 'decoupled', 8, 80),
  row(2.4e6, 'decoupled', 16, 86),
];

/** Of one chip, as the paper has it. */
export const yearsBetweenInterruptions = 1;
const daysBetweenInterruptions = 365 * yearsBetweenInterruptions;

/**
 * A job of failure rate λ that stands still for s after each failure, and does not fail while it stands, works 1/(1 + λs) of the time.
 * So s = (1/g − 1)/λ; from the rows of 1.2M chips: 27 % gives a restart of 71 s, 58 % an elastic stall of 19 s.
 */
export const stallFrom = (percent: number, chips: number): number =>
  ((100 / percent - 1) * daysBetweenInterruptions * 86_400) / chips;

export const restartSeconds = stallFrom(27, 1.2e6);
export const elasticStallSeconds = stallFrom(58, 1.2e6);

/** The smallest part that is lost with a chip until it is repaired: said, not fitted. */
export const lostChips = 64;
export const repairMinutes = 30;

export const goodputAssumptions: readonly string[] = [
  `each chip is interrupted once in ${yearsBetweenInterruptions} year, at random; a learner has chips/M of them`,
  `solved from the paper's own rows of 1.2M chips: a whole restart stands still ${restartSeconds.toFixed(0)} s (27 %), an elastic learner ${elasticStallSeconds.toFixed(0)} s (58 %); the same for all other rows, which are predictions`,
  `an interrupted learner keeps its state and goes on with ${lostChips} chips fewer for ${repairMinutes} minutes: our assumption, ${((100 * lostChips * repairMinutes) / (daysBetweenInterruptions * 1_440)).toFixed(2)} % of the chips in the mean`,
  'the paper may count losses that we do not know of (recovering learners, stale parameters): where ours is above theirs, this may be why',
  "ours: merged tokens of the run's journal, by the real steps of syncer, learners and validators, quorum M/2 + 1; data-parallel and elastic rows are one learner",
  'measured from a third of the time on: what was trained then is merged over the next outer steps, as what was trained before is',
  'uptime: the paper has 100 % for M of 4 and more; ours is the share of virtual seconds in which a learner has an inner step under way and does not wait for a repair; the first second is none of them',
  'chips are of one speed; links between learners and syncer are never the limit',
];

/** Inner steps of 10 s, whatever the number of chips: the tokens of a step are those of its chips. */
const stepSeconds = 10;
const batchSequences = 1_024;
const sequenceLength = 1_024;

export function goodputFleet({ chips, learners, kind }: GoodputRow): Fleet {
  const failuresADay = chips / learners / daysBetweenInterruptions;
  const down = kind === 'data-parallel' ? 0 : (lostChips * repairMinutes) / (daysBetweenInterruptions * 1_440);
  const full = (batchSequences * sequenceLength) / stepSeconds;
  return fleetSchema.parse({
    name: `${kind}-${learners}-${chips}`,
    machines: [
      {
        kind: 'learner',
        count: learners,
        tokensPerSecond: full * (1 - down),
        upMbps: 1e6,
        downMbps: 1e6,
        stallsADay: failuresADay,
        stallSeconds: kind === 'data-parallel' ? restartSeconds : elasticStallSeconds,
      },
    ],
    validators: { count: 3, tokensPerSecond: 1e9, checkSeconds: 0.1 },
    run: {
      preset: 'tiny',
      ...{ sequenceLength, batchSequences, fragments: 8, innerSteps: 4, graceSeconds: [1, 20], deadlineSeconds: 600 },
      ...{ leaseSequences: 65_536, leaseSeconds: 3_600, stateRootEverySteps: 8, blockSeconds: 2, tempoBlocks: 720 },
      ...{ auditsPerTempo: 1, auditAnswerSeconds: 600, releaseEveryMerges: 20 },
    },
    mergeBytesPerSecond: 1e12,
  });
}

export interface GoodputResult extends GoodputRow {
  /** Percent. */
  readonly ours: number;
  readonly uptime: number;
  readonly trained: number;
  readonly headHash: string;
}

/** Full speed is that of all chips, down or not. */
export function goodputResult(
  row: GoodputRow,
  run: {
    readonly samples: readonly Pick<Sample, 'hour' | 'mergedTokens' | 'doneTokens'>[];
    readonly hours: number;
    readonly uptime: number;
    readonly headHash: string;
  },
): GoodputResult {
  // A step's tokens are merged fragment by fragment over the next outer steps: the beginning would count against a short run.
  const first = run.samples.find(({ hour }) => hour >= run.hours / 3)!;
  const last = run.samples.at(-1)!;
  const full = ((batchSequences * sequenceLength) / stepSeconds) * row.learners * 3_600 * (last.hour - first.hour);
  const percent = (tokens: number): number => (100 * tokens) / full;
  return {
    ...row,
    ours: percent(last.mergedTokens - first.mergedTokens),
    trained: percent(last.doneTokens - first.doneTokens),
    uptime: 100 * run.uptime,
    headHash: run.headHash,
  };
}
