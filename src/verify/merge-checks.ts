/**
 * @file Merges made again bit for bit, and the stored bytes of every fragment version. The walk goes on while a merge is
 * made again; what came of it is noted under its own entry.
 */
import type { RunManifest } from '../protocol/manifest.ts';
import { pendingMergeInput } from '../roles/merge-computation.ts';
import { type Check, divergenceAt, type Visit, type WalkContext } from './check.ts';
import { createMergeJudge, type MergeJob, type MergeJudge, type MergeJudgement } from './merge-judge.ts';

interface Judging {
  readonly visit: Visit;
  /** Number of the release that closes its segment. */
  readonly segment: number;
  readonly outerStep: number;
  readonly judgement: Promise<MergeJudgement>;
}

export type JudgeOfRun = (manifest: RunManifest) => MergeJudge;

/** Merges that may be under way while the walk goes on. */
const mostJudging = 4;

export class MergeChecks implements Check {
  #input: MergeJob['input'] | null = null;
  readonly #judgeOf: JudgeOfRun | null;
  #judge: MergeJudge | null = null;
  /** In the order of the journal. */
  #judging: readonly Judging[] = [];

  /** Default: a judge in this thread. */
  constructor(judgeOf: JudgeOfRun | null) {
    this.#judgeOf = judgeOf;
  }

  before(visit: Visit, { state }: WalkContext): void {
    if (visit.kind === 'fragment-published') this.#input = pendingMergeInput(state, visit.body.fragment);
  }

  async after(visit: Visit, context: WalkContext): Promise<void> {
    if (visit.kind !== 'fragment-published' || !context.isHeavy || context.model === null) return;
    const { state, cache, artifactOf } = context;
    const { manifest } = state.run!;
    this.#judge ??= this.#judgeOf?.(manifest) ?? inTurn(createMergeJudge({ manifest, cache, artifactOf }));
    const { fragment, version, artifact, momentum, shares } = visit.body;
    const input = this.#input!;
    const judgement = this.#judge({ input, published: { fragment, version, artifact, momentum, shares } });
    // Whoever waits for it hears of a failure; until then it is nobody's unhandled rejection.
    judgement.catch(() => {});
    const judging = { visit, segment: state.releases.length, outerStep: input.outerStep, judgement };
    this.#judging = [...this.#judging, judging];
    await this.#note(context, mostJudging - 1);
  }

  async settle(context: WalkContext): Promise<void> {
    await this.#note(context, 0);
  }

  /** Waits until at most so many are under way. */
  async #note(context: WalkContext, most: number): Promise<void> {
    while (this.#judging.length > most) {
      const [first, ...rest] = this.#judging;
      this.#judging = rest;
      noteJudgement(first!, await first!.judgement, context);
    }
  }

  /** The present versions must be there: nothing could go on without them. */
  async end({ state, findings, record }: WalkContext): Promise<void> {
    for (const [id, { artifact, momentum, version }] of state.fragments.entries())
      for (const each of momentum === null ? [artifact] : [artifact, momentum]) {
        const answer = await record.artifact(each);
        if (answer.kind === 'missing')
          findings.fail({
            check: 'fragments',
            seq: null,
            event: `fragment ${id}, version ${version}`,
            expected: `artifact ${each.root} of ${each.sizeBytes} bytes`,
            found: 'nothing in the store',
          });
      }
  }
}

function noteJudgement({ visit, segment, outerStep }: Judging, judged: MergeJudgement, context: WalkContext): void {
  const { findings, gone } = context;
  if (judged.storedStates > 0) findings.count('fragments', 'stored states hashed', judged.storedStates);
  if (judged.isRecomputed) findings.count('merges', 'recomputed');
  if (judged.missing !== null) gone.note('merges', visit, segment, judged.missing);
  if (judged.unchecked !== null)
    findings.unchecked('merges', `outer step ${outerStep} cannot be recomputed: ${judged.unchecked}`);
  for (const { check, expected, found } of judged.faults) findings.fail(divergenceAt(check, visit, expected, found));
}

/** One after another. */
export function inTurn(judge: MergeJudge): MergeJudge {
  let last: Promise<unknown> = Promise.resolve();
  return (job) => {
    const judgement = last.then(() => judge(job));
    last = judgement.catch(() => {});
    return judgement;
  };
}
