/** @file What a run comes to, as text for its owner. */
import { gateQuorum, gateStandings, phaseTokens, sayGate } from '../../journal/phases.ts';
import { revealMsOf } from '../../journal/queries.ts';
import type { RunState } from '../../journal/state.ts';
import { sayRate, saySeconds } from '../../plan/sentences.ts';
import type { Phase, RunManifest } from '../../protocol/manifest.ts';
import type { RunOutline } from '../../roles/run-outline.ts';
import { formatBytes, formatCount, formatShort } from '../output.ts';
import { formatTable } from '../table.ts';
import { drawSchedules } from './charts.ts';

/** Without a mixture: that of the corpus. */
type DescribedPhase = Omit<Phase, 'mixture'> & { readonly mixture?: Phase['mixture'] | undefined };

export interface DescribedRun extends Pick<RunManifest, 'sync' | 'audit' | 'release'> {
  readonly phases: readonly DescribedPhase[];
}

export function describeOutline(outline: RunOutline, run: DescribedRun, width: number): string[] {
  const { tokens, parameters, fragments, claimBytes, fragmentBytes, releaseBytes, innerSteps } = outline;
  const { phases } = run;
  return [
    `${formatShort(tokens)} tokens in ${phases.length} ${phases.length === 1 ? 'phase' : 'phases'}, ${formatShort(innerSteps)} inner steps of all learners together`,
    `${formatCount(parameters)} parameters in ${fragments} fragments; a claim of the largest has ${formatBytes(claimBytes)}, its published state ${formatBytes(fragmentBytes)}; a release ${formatBytes(releaseBytes)}`,
    linksWord(outline, run),
    '',
    ...formatTable(
      ['phase', '>tokens', '>sequence', '>steps', 'batch', 'learning rate'],
      phases.map((phase, i) => [
        phase.name,
        formatShort(phase.targetTokens),
        String(phase.sequenceLength),
        formatShort(outline.phases[i]!.innerSteps),
        batchWord(outline.phases[i]!.batchSequences),
        scheduleWord(phase),
      ]),
    ),
    '',
    ...phases.map((phase) => phaseWords(phase, run)),
    '',
    ...drawSchedules(outline.phases, width),
  ];
}

function phaseWords(phase: DescribedPhase, { release }: DescribedRun): string {
  const parts = [
    mixtureWord(phase.mixture),
    contextWord(phase),
    `a release each ${formatCount((phase.release ?? release).everyMerges)} merges of every fragment`,
    `ends when its tokens are merged${(phase.gates ?? []).map((gate) => `, and a quorum finds ${sayGate(gate)}`).join('')}`,
  ];
  return `${phase.name}: ${parts.join('; ')}`;
}

function mixtureWord(mixture: DescribedPhase['mixture']): string {
  if (mixture === undefined) return "the corpus's mixture";
  const total = Object.values(mixture).reduce((sum, share) => sum + share, 0);
  return Object.entries(mixture)
    .map(([source, share]) => `${source} ${Number(((100 * share) / total).toPrecision(3))} %`)
    .join(', ');
}

/** What a learner's uplink must carry in the terms that the run gives: the first thing that shuts a machine out. */
function linksWord({ claimBytes, stateBytes }: RunOutline, { sync, audit }: DescribedRun): string {
  const rate = (bytes: number, ms: number): string => sayRate((8 * bytes) / (1_000 * ms));
  const revealMs = revealMsOf({ sync });
  const claim = `a learner reveals a claim within ${saySeconds(revealMs / 1_000)}: ${rate(claimBytes, revealMs)} up`;
  if (audit.perTempo === 0) return `${claim}; nothing is audited, all merged work is paid`;
  return `${claim}; and shows two states of ${formatBytes(stateBytes)} within ${saySeconds(audit.answerMs / 1_000)} of an audit, ${audit.perTempo} times a tempo: ${rate(2 * stateBytes, audit.answerMs)} up`;
}

const batchWord = (batches: readonly number[]): string =>
  batches[0] === batches.at(-1) ? String(batches[0]) : `${batches[0]} to ${batches.at(-1)}`;

function scheduleWord({ schedule }: Pick<Phase, 'schedule'>): string {
  const { kind, peakLearningRate, finalLearningRate, warmupTokens, warmupFrom } = schedule;
  const from = warmupFrom === undefined ? '0' : String(warmupFrom);
  return `${kind} ${from} to ${peakLearningRate} over ${formatShort(warmupTokens)}, then to ${finalLearningRate}`;
}

function contextWord({ context }: Pick<Phase, 'context'>): string {
  if (context === undefined) return 'positions as the model has them';
  if (context.useNope === false) return 'all positions rotated';
  return context.nopeAfterPosition === undefined
    ? 'positions as the model has them'
    : `no position rotated from ${formatCount(context.nopeAfterPosition)} on`;
}

/** Of a run that goes on. */
export function describeProgress(state: RunState): string[] {
  const { phases } = state;
  const lines = phases.map(({ outerStep, atMs }, i) =>
    i === 0 ? null : `phase ${i} began with outer step ${formatCount(outerStep)} at ${new Date(atMs).toISOString()}`,
  );
  const gates = gateStandings(state).map(
    ({ gate, met, unmet, release, isHeld }) =>
      `gate ${sayGate(gate)}: ${isHeld ? 'held' : 'not held'}${release === null ? '' : ` on release ${release}`} (${met.length} validators found it so, ${unmet.length} not; ${gateQuorum(state)} are needed)`,
  );
  const amendments = state.amendments.map(
    ({ body, inForceSince }) =>
      `amendment ${body.amendment}, ${inForceSince === null ? `from outer step ${body.atOuterStep} on` : `in force since outer step ${inForceSince}`}: ${Object.keys(body.changes).join(', ')} (${body.reason})`,
  );
  return [
    `in phase ${state.phase}: ${formatCount(phaseTokens(state))} tokens merged; the next outer step is ${formatCount(state.nextOuterStep)}`,
    ...lines.filter((line) => line !== null),
    ...gates,
    ...amendments,
  ];
}
