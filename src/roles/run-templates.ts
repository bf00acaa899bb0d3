/**
 * @file Templates of run files: `demo`, all that a long run does in minutes on one machine, and `quasar-10t`, the run that Accrete exists
 * for: from the preview checkpoint over 5T tokens to a stronger base, 5T more to 10T, and a long-context stage after.
 */
import type { Decimal } from '../protocol/names.ts';
import type { RunFile } from './run-file.ts';
import { type RunSettings, runSettings } from './run-presets.ts';

export const templateNames = ['demo', 'quasar-10t'] as const;
export type TemplateName = (typeof templateNames)[number];

const d = (text: string): Decimal => text as Decimal;

function fileOf(
  settings: RunSettings,
  rest: Pick<RunFile, 'template' | 'name' | 'seed' | 'model' | 'phases'> & Partial<RunFile>,
): RunFile {
  const { ledger, recipe, fragments, sync, codec, merge, evaluation, audit, rewards, release } = settings;
  const parts = { ledger, recipe, fragments, sync, codec, merge, evaluation, audit, rewards, release };
  return { version: 1, ...structuredClone(parts), ...rest };
}

const { tiny, nano } = runSettings;

/**
 * Some 2,000 tokens/s on two cores: a few minutes for three phases, each long enough for releases and audits. What is under way when a target is met
 * is merged on top: some 30,000 tokens on a busy machine, so that shorter phases would be mostly that.
 */
const demo = fileOf(tiny, {
  ...{ template: 'demo', name: 'accrete-demo', seed: '0', model: { preset: 'tiny' } },
  recipe: { ...tiny.recipe, batchSequences: 4, microBatches: 2 },
  audit: { ...tiny.audit, stateFormat: 'rounded' },
  phases: [
    {
      ...{ name: 'base', targetTokens: 120_000, sequenceLength: 64 },
      schedule: {
        ...{ kind: 'wsd', peakLearningRate: d('0.006'), finalLearningRate: d('0.001') },
        ...{ warmupTokens: 12_000, totalTokens: 120_000, decayTokens: 36_000 },
      },
      batch: { startSequences: 2, rampTokens: 24_000 },
      // No rotation from position 32 on; the later phases move it.
      context: { nopeAfterPosition: 32 },
      // A model that knows nothing has ln(512) = 6.24 nats.
      gates: [{ metric: 'held-out', atMost: d('6') }],
    },
    {
      ...{ name: 'stronger', targetTokens: 80_000, sequenceLength: 64 },
      schedule: {
        ...{ kind: 'wsd', peakLearningRate: d('0.004'), finalLearningRate: d('0.0005'), warmupFrom: d('0.001') },
        ...{ warmupTokens: 8_000, totalTokens: 80_000, decayTokens: 32_000 },
      },
      context: { nopeAfterPosition: 32 },
    },
    {
      ...{ name: 'long-context', targetTokens: 60_000, sequenceLength: 256 },
      schedule: {
        ...{ kind: 'cosine', peakLearningRate: d('0.001'), finalLearningRate: d('0.0003'), warmupFrom: d('0.0005') },
        ...{ warmupTokens: 4_000, totalTokens: 60_000 },
      },
      context: { useNope: true, nopeAfterPosition: 64 },
      release: { everyMerges: 1 },
    },
  ],
});

const T = 1_000_000_000_000;
const B = 1_000_000_000;

const quasar = fileOf(nano, {
  ...{ template: 'quasar-10t', name: 'quasar-10t', seed: 'quasar-10t', model: { preset: 'quasar-preview' } },
  from: 'hf://silx-ai/Quasar-Preview',
  ledger: { tempoBlocks: 360, blockMs: 12_000 },
  recipe: {
    ...nano.recipe,
    ...{ batchSequences: 512, microBatches: 64, selectionBiasRate: d('0.001'), joinWarmupSteps: 30 },
    // As the released training had them (without gradient in its code).
    frozen: { tensors: ['*.A_log', '*.dt_bias', '*.f_proj.weight'], dtype: 'f32' },
  },
  fragments: { count: 24 },
  sync: {
    ...{ innerStepsPerOuterStep: 30, quorum: 5, grace: { gamma: d('0.5'), minMs: 30_000, maxMs: 600_000 } },
    ...{ deadlineMs: 3_600_000, maxStaleness: 2, leaseSequences: 65_536, leaseMs: 7_200_000, stateRootEverySteps: 10 },
    // 700 MB of a claim take 560 s at 10 Mbit/s, and a committee as long to fetch and test them.
    ...{ revealMs: 600_000, verdictMs: 600_000 },
  },
  codec: 'int8',
  merge: { rule: 'rda', outerLearningRate: d('0.7'), outerMomentum: d('0.9'), normClip: d('3') },
  evaluation: {
    ...nano.evaluation,
    ...{ gainSequences: 16, harmMargin: d('0.02'), committee: 3, heldOutSequences: 512 },
  },
  // In float32 a state has 331 GB, and an answer two of them.
  audit: { ...nano.audit, window: 3, answerMs: 1_800_000, stateFormat: 'rounded' },
  release: { everyMerges: 8, keepReleases: 3, attestations: 2, dtype: 'bf16' },
  phases: [
    {
      ...{ name: 'stronger-base', targetTokens: 5 * T, sequenceLength: 4_096 },
      mixture: { web: 50, code: 20, math: 10, papers: 10, multilingual: 10 },
      schedule: {
        ...{ kind: 'wsd', peakLearningRate: d('0.0003'), finalLearningRate: d('0.00006') },
        ...{ warmupTokens: 20 * B, totalTokens: 5 * T, decayTokens: T },
      },
      batch: { startSequences: 128, rampTokens: 100 * B },
      gates: [{ metric: 'held-out', atMost: d('1.9') }],
    },
    {
      ...{ name: 'ten-trillion', targetTokens: 5 * T, sequenceLength: 4_096 },
      mixture: { web: 35, code: 25, math: 20, papers: 10, multilingual: 10 },
      schedule: {
        ...{ kind: 'wsd', peakLearningRate: d('0.0002'), finalLearningRate: d('0.00002'), warmupFrom: d('0.00006') },
        ...{ warmupTokens: 20 * B, totalTokens: 5 * T, decayTokens: 1.5 * T },
      },
      gates: [{ metric: 'held-out', atMost: d('1.8') }],
    },
    {
      ...{ name: 'long-context', targetTokens: 100 * B, sequenceLength: 65_536 },
      mixture: { papers: 30, code: 40, books: 30 },
      schedule: {
        ...{ kind: 'cosine', peakLearningRate: d('0.00002'), finalLearningRate: d('0.000002') },
        ...{ warmupTokens: 2 * B, totalTokens: 100 * B },
      },
      context: { useNope: true, nopeAfterPosition: 512 },
      release: { everyMerges: 2 },
    },
  ],
});

export const templates: Readonly<Record<TemplateName, RunFile>> = { demo, 'quasar-10t': quasar };
