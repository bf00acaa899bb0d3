/** @file What a run's record says of one release, for its card and for `release.json`. Pure: a view of the fold. */
import { manifestOf } from '../journal/queries.ts';
import type { RunState } from '../journal/state.ts';
import type { Recipe, RunManifest } from '../protocol/manifest.ts';
import type { EventBody } from '../protocol/messages.ts';
import { fromDecimal, type Hash } from '../protocol/names.ts';

export interface RunFacts {
  readonly runId: Hash;
  readonly runName: string;
  readonly release: number;
  readonly releaseId: Hash;
  readonly parentId: Hash | null;
  /** RFC 6962 root over the `treeSize` events before the release. */
  readonly treeHead: Hash;
  readonly treeSize: number;
  readonly stateHash: Hash;
  readonly countedTokens: number;
  readonly merges: number;
  readonly phases: readonly { readonly name: string; readonly tokens: number; readonly target: number }[];
  /** Counted tokens by the mixtures of the phases, which the data order honours exactly. */
  readonly sources: readonly { readonly name: string; readonly tokens: number; readonly licence: string }[];
  readonly recipe: readonly (readonly [label: string, value: string])[];
  /** Newest last: this release and those before it that a validator has evaluated; losses by stage. */
  readonly evaluations: readonly { readonly release: number; readonly losses: ReadonlyMap<string, number> }[];
  readonly files: EventBody<'release-published'>['files'];
}

/** Parents whose numbers stand beside the release's. */
const keptParents = 3;

/**
 * Null where the run has no such release. `state` may be newer than the release: what is told of it stays the same once it is
 * evaluated, so that a release published again has the same card.
 */
export function runFactsOf(state: RunState, release: number): RunFacts | null {
  const record = state.releases[release];
  if (record === undefined) return null;
  const manifest = manifestOf(state);
  const { body } = record;
  const countedTokens = fromDecimal(body.countedTokens);
  const phases = phaseTokens(manifest, countedTokens, state);
  return {
    ...{ runId: state.run!.id, runName: manifest.name, release, releaseId: record.id, parentId: body.parent },
    ...{ treeHead: body.treeHead, treeSize: record.seq, stateHash: body.stateHash, countedTokens, phases },
    ...{ merges: record.merges, files: record.files },
    sources: sourcesOf(manifest, phases),
    recipe: recipeRows(manifest),
    evaluations: evaluationsOf(state, release),
  };
}

/** In order of phases: what the run has counted in each, cut where the release was. */
function phaseTokens({ phases, fragments }: RunManifest, counted: number, state: RunState): RunFacts['phases'] {
  let left = counted;
  return phases.flatMap(({ name, targetTokens }, i) => {
    const tokens = Math.min(left, (state.phaseCellTokens[i] ?? 0) / fragments.count);
    left -= tokens;
    return tokens > 0 || i === 0 ? [{ name, tokens, target: targetTokens }] : [];
  });
}

function sourcesOf({ phases, data }: RunManifest, counted: RunFacts['phases']): RunFacts['sources'] {
  const tokens = new Map<string, number>();
  for (const [i, phase] of counted.entries()) {
    const { mixture } = phases[i]!;
    const whole = Object.values(mixture).reduce((sum, share) => sum + share, 0);
    for (const [source, share] of Object.entries(mixture))
      tokens.set(source, (tokens.get(source) ?? 0) + (phase.tokens * share) / whole);
  }
  return [...tokens]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, count]) => {
      const shard = data.shards.find(({ source, stage }) => source === name && stage === 'train');
      return { name, tokens: count, licence: shard?.licence ?? 'unknown' };
    });
}

function recipeRows({ recipe, phases, sync, merge, codec }: RunManifest): RunFacts['recipe'] {
  const { schedule, sequenceLength } = phases[0]!;
  return [
    ['Inner optimiser', optimiserOf(recipe)],
    [
      'Learning rate',
      `${schedule.kind}, ${schedule.peakLearningRate} to ${schedule.finalLearningRate}, warm-up of ${schedule.warmupTokens.toLocaleString('en-US')} tokens`,
    ],
    ['Batch', `${recipe.batchSequences} sequences of ${sequenceLength} tokens a learner`],
    ['Synchronised', `every fragment after ${sync.innerStepsPerOuterStep} inner steps at least, as ${codec}`],
    ['Merge', `${merge.rule}, outer rate ${merge.outerLearningRate}, momentum ${merge.outerMomentum}`],
    ...(recipe.frozen === undefined ? [] : [['Frozen', recipe.frozen.tensors.join(', ')] as const]),
  ];
}

function optimiserOf(recipe: Recipe): string {
  const adam = `AdamW (β ${recipe.beta1}, ${recipe.beta2}; weight decay ${recipe.weightDecay}; clip ${recipe.clipNorm})`;
  return recipe.optimizer === 'adamw' ? adam : `Muon (momentum ${recipe.momentum}) for matrices, ${adam} for the rest`;
}

/** The first evaluation of each release, as the release's own card has it. */
function evaluationsOf({ evaluations }: RunState, release: number): RunFacts['evaluations'] {
  const byRelease = new Map<number, ReadonlyMap<string, number>>();
  for (const { release: of, losses } of evaluations)
    if (of <= release && !byRelease.has(of))
      byRelease.set(of, new Map(Object.entries(losses).map(([stage, loss]) => [stage, fromDecimal(loss)])));
  const numbers = [...byRelease.keys()].sort((a, b) => a - b);
  // The start checkpoint says what training did; the last ones what it does.
  const shown = numbers.filter((_, i) => i === 0 || i >= numbers.length - keptParents);
  return shown.map((number) => ({ release: number, losses: byRelease.get(number)! }));
}
