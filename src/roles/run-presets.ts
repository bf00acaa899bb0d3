/** @file The settings of a run for each preset of the model: what `accrete up` and `accrete run init` start from. */
import type { RunManifest } from '../protocol/manifest.ts';
import type { Decimal } from '../protocol/names.ts';

/** The parts of a manifest that a preset decides. */
export type RunSettings = Pick<
  RunManifest,
  'recipe' | 'fragments' | 'sync' | 'codec' | 'merge' | 'evaluation' | 'audit' | 'rewards' | 'release'
> & {
  readonly sequenceLength: number;
  readonly targetTokens: number;
  readonly schedule: RunManifest['phases'][number]['schedule'];
  /** In place of the one phase that the three above make; without a mixture: the corpus's. */
  readonly phases?: readonly PhaseSettings[];
  readonly ledger: Omit<RunManifest['ledger'], 'chainId' | 'netuid'>;
};

export type PhaseSettings = Omit<RunManifest['phases'][number], 'mixture'> & {
  readonly mixture?: RunManifest['phases'][number]['mixture'] | undefined;
};

const d = (text: string): Decimal => text as Decimal;

const nano: RunSettings = {
  sequenceLength: 128,
  targetTokens: 1_000_000_000,
  // Falls over about what ten minutes on two cores train on, then stays: the slower learners move, the less they drift apart.
  schedule: {
    kind: 'linear',
    peakLearningRate: d('0.006'),
    finalLearningRate: d('0.001'),
    warmupTokens: 30_000,
    totalTokens: 2_400_000,
  },
  // 240 s, in which a learner on two shared cores does some 600 steps: three audits of 20 cost 10 % of them.
  // The first epoch, after 30 s, gives validators their permits; the second pays the first tempo.
  ledger: { tempoBlocks: 960, blockMs: 250, firstEpochBlock: 120 },
  recipe: {
    optimizer: 'adamw',
    beta1: d('0.9'),
    beta2: d('0.95'),
    epsilon: d('1e-8'),
    weightDecay: d('0.1'),
    clipNorm: d('1'),
    // 20 times DeepSeek-V3's: a run of some thousand steps is over before 0.001 has balanced the experts.
    selectionBiasRate: d('0.02'),
    batchSequences: 4,
    joinWarmupSteps: 20,
    precision: 'f32',
  },
  fragments: { count: 4 },
  sync: {
    innerStepsPerOuterStep: 6,
    quorum: 2,
    grace: { gamma: d('0.5'), minMs: 800, maxMs: 1_500 },
    deadlineMs: 20_000,
    maxStaleness: 2,
    leaseSequences: 192,
    leaseMs: 30_000,
    stateRootEverySteps: 20,
  },
  codec: 'int8',
  // Simulated, 180 steps, one seed: 1 without momentum 5.66 nats, 0.8 with 0.5 the same, 1 with 0.7 and 0.9 5.80 and 5.95.
  merge: { rule: 'mean', outerLearningRate: d('1'), outerMomentum: d('0'), normClip: d('4') },
  evaluation: {
    gainShare: d('0.25'),
    gainFirstClaims: 8,
    gainSequences: 8,
    // One fragment's honest step, taken without the others', was seen to cost 0.08 nats early in a run.
    harmMargin: d('0.2'),
    normFloor: d('0.05'),
    normCeiling: d('10'),
    committee: 2,
    recheckShare: d('0.1'),
    heldOutSequences: 32,
  },
  audit: {
    perTempo: 3,
    // 10 states of 106 MB lie on the disk of each learner.
    window: 6,
    // Two states of 106 MB go to the store, three learners' at once when a tempo begins; 20 s were seen to be too short on two cores.
    answerMs: 60_000,
    // Between native code and WebAssembly (docs/experiments.md): routers and the signs of small gradients fall otherwise.
    minCosine: d('0.75'),
    maxNormRatio: d('1.1'),
    copyResemblance: d('0.8'),
  },
  // Who comes is paid three quarters of his first tempo at once. With 1 a newcomer of five tempos had 0.79 of his share, with 4 one of eight 0.74 (docs/experiments.md).
  rewards: { verdictShare: d('0.1'), halfLifeTempos: d('0.5') },
  release: { everyMerges: 3, keepReleases: 2, attestations: 1 },
};

const tiny: RunSettings = {
  ...nano,
  ledger: { tempoBlocks: 120, blockMs: 250, firstEpochBlock: 60 },
  sequenceLength: 64,
  schedule: { ...nano.schedule, peakLearningRate: d('0.005'), finalLearningRate: d('0.005'), warmupTokens: 8_000 },
  recipe: { ...nano.recipe, batchSequences: 4 },
  fragments: { count: 4 },
  sync: { ...nano.sync, leaseSequences: 128, leaseMs: 6_000, deadlineMs: 10_000, stateRootEverySteps: 10 },
  audit: { ...nano.audit, window: 32, answerMs: 20_000, minCosine: d('0.9') },
  evaluation: { ...nano.evaluation, heldOutSequences: 16 },
  release: { everyMerges: 1, keepReleases: 2, attestations: 1 },
};

const small: RunSettings = {
  ...nano,
  // 20 minutes: a step takes seconds, and audits are drawn, answered and redone within a tempo.
  ledger: { tempoBlocks: 4_800, blockMs: 250, firstEpochBlock: 600 },
  sequenceLength: 256,
  schedule: { ...nano.schedule, peakLearningRate: d('0.001'), finalLearningRate: d('0.001'), warmupTokens: 200_000 },
  recipe: { ...nano.recipe, batchSequences: 4 },
  fragments: { count: 24 },
  sync: { ...nano.sync, leaseSequences: 96, leaseMs: 240_000, deadlineMs: 180_000 },
  evaluation: { ...nano.evaluation, gainSequences: 4, heldOutSequences: 8 },
  // A state has 2 GB: to show two of them takes minutes on a disk that others use too.
  audit: { ...nano.audit, window: 3, answerMs: 300_000 },
};

/** The preset that llama.cpp runs: nano's sizes are near, so its settings serve. */
const nanoGguf: RunSettings = {
  ...nano,
  schedule: { ...nano.schedule, peakLearningRate: d('0.003') },
  sync: { ...nano.sync, leaseMs: 60_000, deadlineMs: 40_000 },
  // A state has 310 MB.
  audit: { ...nano.audit, window: 4, answerMs: 90_000 },
  // On two cores that others use too a merge takes some 15 s, and a release eight of them.
  release: { ...nano.release, everyMerges: 2 },
};

export const runPresetNames = ['tiny', 'nano', 'nano-gguf', 'small'] as const;
export type RunPresetName = (typeof runPresetNames)[number];

export const runSettings: Readonly<Record<RunPresetName, RunSettings>> = {
  tiny,
  nano,
  'nano-gguf': nanoGguf,
  small,
};
