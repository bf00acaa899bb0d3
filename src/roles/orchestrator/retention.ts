/**
 * @file Which artifacts of a run the store need no longer hold: fragment versions that were superseded and claims that
 * were settled before the last few releases. The start checkpoint, traces and data stay. Decides; removes nothing.
 */
import { manifestOf } from '../../journal/queries.ts';
import type { RunState } from '../../journal/state.ts';
import type { JournalEntry } from '../../protocol/messages.ts';
import type { Hash } from '../../protocol/names.ts';

interface Retired {
  readonly root: Hash;
  /** Releases that the run had when the artifact went out of use. */
  readonly releases: number;
}

export class Retention {
  #retired: Retired[] = [];
  #heads: (readonly Hash[])[] = [];
  readonly #openClaims = new Set<Hash>();

  /** To be called after each entry was folded into `run`. */
  readonly onFold = (run: RunState, { message: { kind } }: JournalEntry): void => {
    if (kind === 'run') this.#heads = headsOf(run);
    else if (kind === 'claim-commit') this.#openClaims.add([...run.openClaims].at(-1)!);
    else if (kind === 'fragment-published') this.#retireHeads(run);
    else if (kind === 'release') this.#retireClaims(run);
  };

  /** Roots that may go now; each is named once. */
  takeExpired(run: RunState): Hash[] {
    const { keepReleases } = manifestOf(run).release;
    const isExpired = ({ releases }: Retired): boolean => releases + keepReleases < run.releases.length;
    const inUse = new Set([...this.#heads.flat(), ...run.run!.start.map(({ root }) => root)]);
    const expired = this.#retired.filter(isExpired);
    this.#retired = this.#retired.filter((each) => !isExpired(each));
    return [...new Set(expired.map(({ root }) => root))].filter((root) => !inUse.has(root));
  }

  #retireHeads(run: RunState): void {
    const heads = headsOf(run);
    const current = new Set(heads.flat());
    for (const root of this.#heads.flat()) if (!current.has(root)) this.#retire(run, root);
    this.#heads = heads;
  }

  #retireClaims(run: RunState): void {
    for (const id of this.#openClaims) {
      if (run.openClaims.has(id)) continue;
      this.#openClaims.delete(id);
      this.#retire(run, run.claims.get(id)!.body.artifact.root);
    }
  }

  #retire(run: RunState, root: Hash): void {
    this.#retired.push({ root, releases: run.releases.length });
  }
}

const headsOf = (run: RunState): (readonly Hash[])[] =>
  run.fragments.map(({ artifact, momentum }) => [artifact.root, ...(momentum === null ? [] : [momentum.root])]);
