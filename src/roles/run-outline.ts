/** @file What a run file or manifest comes to: tokens, steps, fragments, bytes, and the curves of its schedules. Exact where it can be; no clock. */
import { encodedSizeBytes } from '../merge/codecs/fragment-file.ts';
import { planFragments } from '../merge/fragment-plan.ts';
import type { QuasarLongConfig } from '../model/quasar-long/config.ts';
import type { Phase, RunManifest } from '../protocol/manifest.ts';
import { elementCount } from '../tensor/contract.ts';
import { contractOf } from '../training/recipe.ts';
import { learningRateAt } from '../training/schedule.ts';
import { batchSequencesAt } from './learner/schedule-position.ts';
import { stateSizeBytes } from './learner/state-format.ts';

export type OutlinedRun = Pick<RunManifest, 'recipe' | 'fragments' | 'sync' | 'codec' | 'release' | 'audit'> & {
  readonly phases: readonly Omit<Phase, 'mixture'>[];
};

export interface PhaseOutline {
  readonly name: string;
  readonly targetTokens: number;
  readonly sequenceLength: number;
  /** Inner steps of all learners together, at the batch that the ramp gives. */
  readonly innerSteps: number;
  /** Of the phase in tokens; `learningRate` and `batchSequences` at equal distances. */
  readonly learningRate: readonly number[];
  readonly batchSequences: readonly number[];
}

export interface RunOutline {
  readonly tokens: number;
  readonly parameters: number;
  readonly fragments: number;
  /** Of the largest fragment: a claim in the run's codec, and the published state (float32). */
  readonly claimBytes: number;
  readonly fragmentBytes: number;
  /** Of one release in its dtype. */
  readonly releaseBytes: number;
  /** Of a learner: an audit asks for two of them. */
  readonly stateBytes: number;
  readonly innerSteps: number;
  readonly phases: readonly PhaseOutline[];
}

/** @throws ModelError BAD_FROZEN; MergeError where the plan has more fragments than rows */
export function outlineOf(run: OutlinedRun, config: QuasarLongConfig, points = 72): RunOutline {
  const contract = contractOf(config, run.recipe);
  const plan = planFragments(contract, run.fragments.count);
  const parameters = contract
    .filter(({ isBuffer }) => !isBuffer)
    .reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const phases = run.phases.map((phase) => outlinePhase(phase, run.recipe, points));
  const largest = (sizeOf: (fragment: (typeof plan.fragments)[number]) => number): number =>
    Math.max(...plan.fragments.map(sizeOf));
  return {
    tokens: phases.reduce((sum, { targetTokens }) => sum + targetTokens, 0),
    parameters,
    fragments: plan.fragments.length,
    claimBytes: largest((fragment) => encodedSizeBytes(run.codec, fragment)),
    fragmentBytes: largest((fragment) => encodedSizeBytes('f32', fragment)),
    releaseBytes: parameters * (run.release.dtype === 'bf16' ? 2 : 4),
    stateBytes: stateSizeBytes(plan, run),
    innerSteps: phases.reduce((sum, { innerSteps }) => sum + innerSteps, 0),
    phases,
  };
}

function outlinePhase(phase: Omit<Phase, 'mixture'>, recipe: RunManifest['recipe'], points: number): PhaseOutline {
  const { name, targetTokens, sequenceLength, schedule, batch } = phase;
  const terms = { batchSequences: recipe.batchSequences, microBatches: recipe.microBatches, ramp: batch };
  const tokensAt = (i: number): number => Math.round((targetTokens * i) / (points - 1));
  const sample = <T>(of: (tokens: number) => T): T[] => Array.from({ length: points }, (_, i) => of(tokensAt(i)));
  return {
    ...{ name, targetTokens, sequenceLength },
    innerSteps: stepsOf(targetTokens / sequenceLength, (sequences) =>
      batchSequencesAt(terms, Math.round(sequences * sequenceLength)),
    ),
    learningRate: sample((tokens) => learningRateAt(schedule, tokens)),
    batchSequences: sample((tokens) => batchSequencesAt(terms, tokens)),
  };
}

/** Sequences over the batch, which is sampled a thousand times along the phase. */
function stepsOf(sequences: number, batchAt: (sequences: number) => number): number {
  const parts = 1_000;
  let steps = 0;
  for (let i = 0; i < parts; i++) steps += sequences / parts / batchAt((sequences * (i + 0.5)) / parts);
  return Math.ceil(steps);
}
