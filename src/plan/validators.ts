/** @file What the validators of a run have to do and to fetch in a day, for its rate of tests and audits. */
import { verdictMsOf } from '../journal/queries.ts';
import type { RunManifest } from '../protocol/manifest.ts';
import { fromDecimal } from '../protocol/names.ts';
import type { Fleet } from '../simulate/fleet/fleet-file.ts';
import { auditCheckSeconds } from './audits.ts';
import { mean } from './pace.ts';
import { sayBytes, sayRate, saySeconds } from './sentences.ts';
import { type Steady, speedsOf, sumOf } from './steady.ts';

const dayS = 86_400;
/** Over the learners' training time (DESIGN section 4). */
export const validatorBar = 0.2;

export interface PlannedValidators {
  readonly count: number;
  readonly tokensPerSecond: number;
  readonly auditsADay: number;
  /** Of all validators together: how often a segment is redone, a third verdict where two differ not among them. */
  readonly replaysADay: number;
  /** Seconds of one validator, all work of a day added up: replays, gain tests, checks, and fetching for them. */
  readonly replaySecondsADay: number;
  /** One replay and the fetching of its states. */
  readonly replaySeconds: number;
  readonly gainSecondsADay: number;
  readonly checkSecondsADay: number;
  readonly fetchSecondsADay: number;
  /** Claims, states and published fragments, of one of them. */
  readonly bytesDownADay: number;
  /** Computation over the learners' own training time; the bar is 0.2. */
  readonly shareOfTraining: number;
  readonly needed: number;
  /** A replay with its states takes longer than it may: no audit passes, whoever answers it. */
  readonly isTooLate: boolean;
  /** Of the audits that are asked for, those that so many validators redo in time: no more of the work than this is paid. */
  readonly redoneShare: number;
  /** Why audits or verdicts do not come in time. */
  readonly limits: readonly string[];
}

export function validatorsOf(manifest: RunManifest, fleet: Fleet, steady: Steady, phase: number): PlannedValidators {
  const { sync, audit, evaluation } = manifest;
  const { kinds, claimsADay, sizes, stepTokens, auditsADay, outerStepSeconds } = steady;
  const { count, checkSeconds, downMbps, tokensPerSecond } = fleet.validators;
  const { sequenceLength } = manifest.phases[phase]!;
  const speeds = fleet.machines.flatMap((kind) => speedsOf(kind, sizes.activeParameters)).sort((a, b) => a - b);
  const speed = tokensPerSecond ?? speeds[speeds.length >> 1]!;
  const recheck = fromDecimal(evaluation.recheckShare);
  const segment = (sync.stateRootEverySteps * stepTokens) / speed;
  // The first of a tempo is redone by two, a share of the others too (`audits.ts` of the journal).
  const redone = audit.perTempo === 0 ? 0 : 1 + (1 + recheck * (audit.perTempo - 1)) / audit.perTempo;
  const replaysADay = auditsADay * redone;
  const verdicts = claimsADay * (evaluation.committee + recheck);
  const replaySecondsADay = replaysADay * segment;
  // A forward pass is a third of a step's work.
  const gainTokens = 2 * evaluation.gainSequences * sequenceLength;
  const gainSecondsADay = (verdicts * fromDecimal(evaluation.gainShare) * gainTokens) / 3 / speed;
  const checkSecondsADay = verdicts * checkSeconds;
  const answerBytes = 2 * sizes.stateBytes;
  const fetched = verdicts * mean(sizes.claimBytes) + replaysADay * answerBytes;
  const down = (bytes: number): number => (8 * bytes) / (downMbps * 1e6);
  const training = sumOf(kinds, ({ machines, availability, tokensADay }) =>
    tokensADay === 0 ? 0 : machines * availability * dayS,
  );
  const work = replaySecondsADay + gainSecondsADay + checkSecondsADay;
  const fetchSecondsADay = down(fetched);
  // Each holds what is published: gain tests are on it, and states stand on it.
  const followed = (dayS / outerStepSeconds) * mean(sizes.fragmentBytes);
  const left = Math.max(1, dayS - down(followed));
  const needed = Math.max(evaluation.committee, Math.ceil((work + fetchSecondsADay) / left));
  const shareOfTraining = training === 0 ? 0 : work / training;
  const isAudited = audit.perTempo > 0;
  const replaySeconds = down(answerBytes) + segment;
  const isTooLate = isAudited && replaySeconds > auditCheckSeconds(manifest);
  const times = { fetchStates: down(answerBytes), segment, fetchClaim: down(mean(sizes.claimBytes)), checkSeconds };
  return {
    ...{ count, tokensPerSecond: speed, auditsADay, replaysADay },
    ...{ replaySecondsADay, replaySeconds, gainSecondsADay, checkSecondsADay, fetchSecondsADay },
    ...{ bytesDownADay: fetched / count + followed, shareOfTraining, needed },
    isTooLate,
    redoneShare: isTooLate ? 0 : isAudited ? Math.min(1, count / needed) : 1,
    limits: [
      ...tardiness(manifest, fleet, { ...times, answerBytes }),
      ...(needed > count
        ? [
            `validators: ${count} of them, and the work of a day, fetching included, is that of ${needed}: the other audits close unchecked, and what waits for them is not paid`,
          ]
        : []),
      ...(shareOfTraining > validatorBar
        ? [
            `validators: ${(100 * shareOfTraining).toFixed(0)} % of the training time, over the bar of ${100 * validatorBar} %`,
          ]
        : []),
    ],
  };
}

function tardiness(
  manifest: RunManifest,
  { validators: { downMbps } }: Fleet,
  times: { fetchStates: number; segment: number; fetchClaim: number; checkSeconds: number; answerBytes: number },
): string[] {
  const { fetchStates, segment, fetchClaim, checkSeconds, answerBytes } = times;
  const [replay, given] = [fetchStates + segment, auditCheckSeconds(manifest)];
  const [verdict, verdictGiven] = [fetchClaim + checkSeconds, verdictMsOf(manifest) / 1_000];
  return [
    ...(manifest.audit.perTempo > 0 && replay > given
      ? [
          `validators: one replay takes ${saySeconds(replay)} (${sayBytes(answerBytes)} of states at ${sayRate(downMbps)} ${saySeconds(fetchStates)}, its steps ${saySeconds(segment)}), and ${saySeconds(given)} are given, half a tempo: audits close unchecked, and none of them pays`,
        ]
      : []),
    ...(verdict > verdictGiven
      ? [
          `validators: a claim is fetched and checked in ${saySeconds(verdict)}, more than ${saySeconds(verdictGiven)} (sync.verdictMs): committees are drawn again and again`,
        ]
      : []),
  ];
}
