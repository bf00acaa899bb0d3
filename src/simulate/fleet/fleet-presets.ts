/** @file Fleets by name, for `accrete simulate --fleet NAME`. */
import { type Fleet, fleetSchema } from './fleet-file.ts';

type FleetInput = Parameters<typeof fleetSchema.parse>[0];

/** Tempos of 12 minutes, so that a day has 120 of them; the rest as in `small`, laid out for `nano`'s steps. */
const fairRun = {
  preset: 'nano',
  sequenceLength: 512,
  batchSequences: 8,
  fragments: 4,
  innerSteps: 4,
  graceSeconds: [2, 10],
  deadlineSeconds: 60,
  leaseSequences: 8_192,
  leaseSeconds: 300,
  stateRootEverySteps: 8,
  blockSeconds: 2,
  tempoBlocks: 360,
  auditAnswerSeconds: 120,
} as const;

/** Speeds span a factor of 100; a newcomer each hour, and leavers. */
const fair = (count: number): FleetInput => ({
  name: `fair-${count}`,
  about: `${count} miners whose speeds span 100x; one newcomer an hour; a tenth of them leaves after some hours`,
  machines: [
    { kind: 'steady', count: Math.max(2, Math.round(0.6 * count)), tokensPerSecond: 4_000, spread: 100 },
    {
      kind: 'newcomer',
      count: Math.max(1, Math.round(0.3 * count)),
      tokensPerSecond: 4_000,
      spread: 10,
      joinHour: 1,
      joinEveryHours: 1,
    },
    {
      kind: 'leaver',
      count: Math.max(1, Math.round(0.1 * count)),
      tokensPerSecond: 4_000,
      spread: 10,
      leaveAfterHours: 5,
    },
  ],
  // Enough to check every claim as it comes: 400 miners make six a second.
  validators: { count: Math.max(5, Math.round(count / 16)), tokensPerSecond: 40_000, checkSeconds: 0.5 },
  run: fairRun,
});

/**
 * Ten thousand learners of 250 hotkeys, one claim each 30 minutes: 4 inner steps of 7.5 minutes. The outer step closes at a majority of
 * them. Sizes of `small`, since no bytes move.
 */
const tenThousand: FleetInput = {
  name: 'ten-thousand',
  about: '10,000 learners of 250 hotkeys, one claim each in 30 minutes',
  machines: [
    {
      ...{ kind: 'learner', count: 10_000, tokensPerSecond: 1_000, spread: 1.2, learnersPerHotkey: 40 },
      ...{ upMbps: 1_000, downMbps: 1_000, failuresADay: 0.02, restartSeconds: 600 },
    },
  ],
  validators: { count: 5, tokensPerSecond: 1_000_000, checkSeconds: 0.2 },
  run: {
    ...{ preset: 'small', sequenceLength: 1_000, batchSequences: 450, fragments: 8, innerSteps: 4 },
    ...{ graceSeconds: [10, 60], deadlineSeconds: 3_600, leaseSequences: 3_600, leaseSeconds: 14_400 },
    ...{ stateRootEverySteps: 4, blockSeconds: 12, tempoBlocks: 360, auditsPerTempo: 3, auditAnswerSeconds: 600 },
    // Claims come in waves: a validator works through its queue, and nobody is drawn anew meanwhile.
    ...{ gainShare: 0.01, releaseEveryMerges: 3, verdictSeconds: 1_200 },
  },
  mergeBytesPerSecond: 1e12,
};

export const fleetPresets: Readonly<Record<string, FleetInput>> = {
  'fair-4': fair(4),
  'fair-40': fair(40),
  'fair-400': fair(400),
  'ten-thousand': tenThousand,
};

export const fleetPreset = (name: string): Fleet | null =>
  Object.hasOwn(fleetPresets, name) ? fleetSchema.parse(fleetPresets[name]) : null;
