/**
 * @file Which artifacts the fragments were at when a claim was committed or a release journaled. The fold keeps only the
 * present heads; whoever needs those of a moment remembers them while it folds.
 */
import type { RunState } from '../journal/state.ts';
import type { ArtifactRef } from '../protocol/manifest.ts';
import type { JournalEntry } from '../protocol/messages.ts';
import type { Hash } from '../protocol/names.ts';

export class HeadsHistory {
  readonly #byClaim = new Map<Hash, readonly ArtifactRef[]>();
  readonly #byRelease = new Map<number, readonly ArtifactRef[]>();

  /** To be called after each entry was folded into `state`. */
  readonly onFold = (state: RunState, entry: JournalEntry): void => {
    const { kind } = entry.message;
    if (kind === 'release') this.#byRelease.set(state.releases.at(-1)!.body.release, headsOf(state));
    if (kind === 'claim-commit') this.#byClaim.set([...state.openClaims].at(-1)!, headsOf(state));
    if (kind === 'merge' || kind === 'claim-void' || kind === 'verdict')
      for (const id of this.#byClaim.keys()) if (!state.openClaims.has(id)) this.#byClaim.delete(id);
  };

  /** The heads as of the claim's commit event; null if it is settled, or was never seen. */
  ofClaim(claim: Hash): readonly ArtifactRef[] | null {
    return this.#byClaim.get(claim) ?? null;
  }

  ofRelease(release: number): readonly ArtifactRef[] | null {
    return this.#byRelease.get(release) ?? null;
  }
}

const headsOf = (state: RunState): readonly ArtifactRef[] => state.fragments.map((fragment) => fragment.artifact);
