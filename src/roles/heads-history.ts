/**
 * @file Which artifacts the fragments were at when a claim was committed or a release journaled. The fold keeps only the
 * present heads; whoever needs those of a moment remembers them while it folds.
 */
import { mayBeJudged } from '../journal/queries.ts';
import type { RunState } from '../journal/state.ts';
import type { ArtifactRef } from '../protocol/manifest.ts';
import type { JournalEntry } from '../protocol/messages.ts';
import type { Hash } from '../protocol/names.ts';

/** After these a claim may be nobody's business any more. */
const settling: ReadonlySet<string> = new Set(['merge', 'claim-void', 'verdict', 'dispute-close', 'release']);

export class HeadsHistory {
  readonly #byClaim = new Map<Hash, readonly ArtifactRef[]>();
  readonly #byRelease = new Map<number, readonly ArtifactRef[]>();

  /** To be called after each entry was folded into `state`. */
  readonly onFold = (state: RunState, entry: JournalEntry): void => {
    const { kind } = entry.message;
    if (kind === 'release') this.#byRelease.set(state.releases.at(-1)!.body.release, headsOf(state));
    if (kind === 'claim-commit') this.#byClaim.set([...state.openClaims].at(-1)!, headsOf(state));
    if (settling.has(kind))
      for (const id of this.#byClaim.keys()) if (!mayBeJudged(state, state.claims.get(id)!)) this.#byClaim.delete(id);
  };

  /** The heads as of the claim's commit event; null if nobody will judge it any more, or it was never seen. */
  ofClaim(claim: Hash): readonly ArtifactRef[] | null {
    return this.#byClaim.get(claim) ?? null;
  }

  /** Roots that judging claims needs, now or later. */
  neededRoots(): Set<Hash> {
    return new Set([...this.#byClaim.values()].flatMap((heads) => heads.map(({ root }) => root)));
  }

  ofRelease(release: number): readonly ArtifactRef[] | null {
    return this.#byRelease.get(release) ?? null;
  }
}

const headsOf = (state: RunState): readonly ArtifactRef[] => state.fragments.map((fragment) => fragment.artifact);
