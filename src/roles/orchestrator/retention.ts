/**
 * @file Which artifacts of a run the store need no longer hold: superseded fragment versions, claims that nobody will judge
 * any more with their details, and states of audits that are over. They go when their segment of the record has been
 * attested and a few releases have passed. The start checkpoint, traces and data stay. Decides; removes nothing.
 */
import { manifestOf, mayBeJudged } from '../../journal/queries.ts';
import type { Claim, RunState } from '../../journal/state.ts';
import type { JournalEntry } from '../../protocol/messages.ts';
import type { Hash } from '../../protocol/names.ts';

/** Audits of learners that fell silent hold nothing for longer: they close unchecked then. */
const mostHeldReleases = 32;

interface Retired {
  readonly root: Hash;
  /** The release that closes the segment in which it was last used. */
  readonly segment: number;
  /** Events that the run had when it went out of use. */
  readonly seq: number;
}

export class Retention {
  #retired: Retired[] = [];
  #heads: (readonly Hash[])[] = [];
  readonly #claims = new Set<Hash>();
  readonly #audits = new Set<number>();

  /** To be called after each entry was folded into `run`. */
  readonly onFold = (run: RunState, { message: { kind } }: JournalEntry): void => {
    if (kind === 'run') this.#heads = headsOf(run);
    else if (kind === 'claim-commit') this.#claims.add([...run.openClaims].at(-1)!);
    else if (kind === 'audit-challenge') this.#audits.add(run.nextAudit - 1);
    else if (kind === 'fragment-published') this.#retireHeads(run);
    else if (kind === 'release') {
      this.#retireClaims(run);
      this.#retireAudits(run);
    }
  };

  /** Roots that may go now; each is named once. `needed`: what must stay all the same, for now. */
  takeExpired(run: RunState, needed: ReadonlySet<Hash> = new Set()): Hash[] {
    const { keepReleases, attestations } = manifestOf(run).release;
    const audited = oldestAudited(run);
    const isExpired = ({ root, segment, seq }: Retired): boolean =>
      (seq < audited || segment + keepReleases + mostHeldReleases < run.releases.length) &&
      segment + keepReleases < run.releases.length &&
      run.releases[segment]!.attestedBy.length >= (segment === 0 ? 0 : attestations) &&
      !needed.has(root);
    const inUse = new Set([...this.#heads.flat(), ...run.run!.start.map(({ root }) => root), ...this.#openRoots(run)]);
    const expired = this.#retired.filter(isExpired);
    this.#retired = this.#retired.filter((each) => !isExpired(each));
    // The same bytes can serve twice: what is in use retires again; what is retired for later goes later.
    const later = new Set(this.#retired.map(({ root }) => root));
    return [...new Set(expired.map(({ root }) => root))].filter((root) => !inUse.has(root) && !later.has(root));
  }

  #openRoots(run: RunState): Hash[] {
    const ofClaims = [...this.#claims].flatMap((id) => rootsOf(run.claims.get(id)!));
    return [...ofClaims, ...[...this.#audits].flatMap((id) => statesOf(run, id))];
  }

  #retireHeads(run: RunState): void {
    const heads = headsOf(run);
    const current = new Set(heads.flat());
    // It went into a merge of the segment that the next release closes.
    const segment = run.releases.length;
    for (const root of this.#heads.flat()) if (!current.has(root)) this.#retired.push({ root, segment, seq: run.size });
    this.#heads = heads;
  }

  #retireClaims(run: RunState): void {
    for (const id of this.#claims) {
      const claim = run.claims.get(id)!;
      if (mayBeJudged(run, claim)) continue;
      this.#claims.delete(id);
      this.#retire(run, rootsOf(claim));
    }
  }

  #retireAudits(run: RunState): void {
    for (const id of this.#audits) {
      if (run.openAudits.has(id)) continue;
      this.#audits.delete(id);
      this.#retire(run, statesOf(run, id));
    }
  }

  /** In the segment that was closed just now. */
  #retire(run: RunState, roots: readonly Hash[]): void {
    for (const root of roots) this.#retired.push({ root, segment: run.releases.length - 1, seq: run.size });
  }
}

/**
 * Audits need what their learner took in and claimed: nothing goes that was in use when the oldest segment that may still be
 * redone began, or one claim earlier, since a version may be taken in a while after it was published.
 */
function oldestAudited(run: RunState): number {
  if (manifestOf(run).audit.perTempo === 0) return Number.POSITIVE_INFINITY;
  const open = [...run.openAudits]
    .map((id) => run.audits.get(id)!)
    .map(({ learner, body }) => [learner, body.steps[0]]);
  const drawable = [...run.learners.values()]
    .filter(({ present }) => present)
    .map(({ id, auditable, segmentFrom }) => [id, auditable[0]?.steps[0] ?? segmentFrom]);
  const firstSteps = new Map<unknown, number>();
  for (const [learner, from] of [...open, ...drawable])
    firstSteps.set(learner, Math.min(firstSteps.get(learner) ?? Number.POSITIVE_INFINITY, Number(from)));
  const before = new Map<unknown, number>([...firstSteps.keys()].map((learner) => [learner, 0]));
  // In commit order: the newest claim whose lines end before the learner's oldest segment, and the one before that.
  const previous = new Map<unknown, number>();
  for (const { learner, commitSeq, body } of run.claims.values())
    if (body.trace.lines[1] <= (firstSteps.get(learner) ?? 0)) {
      before.set(learner, previous.get(learner) ?? 0);
      previous.set(learner, commitSeq);
    }
  return Math.min(Number.POSITIVE_INFINITY, ...before.values());
}

const headsOf = (run: RunState): (readonly Hash[])[] =>
  run.fragments.map(({ artifact, momentum }) => [artifact.root, ...(momentum === null ? [] : [momentum.root])]);

function rootsOf({ body, verdicts, rechecked, dispute }: Claim): Hash[] {
  const said = [...verdicts, ...(rechecked === null ? [] : [rechecked]), ...(dispute?.rulings ?? [])];
  return [body.artifact.root, ...said.flatMap(({ details }) => (details === null ? [] : [details.root]))];
}

function statesOf(run: RunState, id: number): Hash[] {
  const { answer } = run.audits.get(id)!;
  if (answer === null) return [];
  return [...(answer.start === null ? [] : [answer.start.root]), answer.end.root];
}
