/** @file What the state of a run does not keep because no decision needs it: the latest merges, and how long claims waited. */

import type { MergeStatus } from '../../http/status.ts';
import type { Journal } from '../../journal/port.ts';
import { claimTokens } from '../../journal/queries.ts';
import type { RunState } from '../../journal/state.ts';
import type { EventBody, JournalEntry } from '../../protocol/messages.ts';

const keptMerges = 20;
/** Merges whose claims the median is taken over. */
const keptWaits = 200;
const pageEntries = 256;

interface Published {
  readonly body: EventBody<'fragment-published'>;
  readonly atMs: number;
}

export class RunHistory {
  /** Oldest first. */
  readonly #published: Published[] = [];

  /** Reads what is there; the caller follows the journal with `onEntry`. */
  static async read(journal: Journal): Promise<RunHistory> {
    const history = new RunHistory();
    for (let from = 0; ; from += pageEntries) {
      const entries = await journal.read(from, pageEntries);
      for (const entry of entries) history.onEntry(entry);
      if (entries.length < pageEntries) return history;
    }
  }

  readonly onEntry = (entry: JournalEntry): void => {
    if (entry.message.kind !== 'fragment-published') return;
    this.#published.push({ body: entry.message.body as EventBody<'fragment-published'>, atMs: entry.timeMs });
    if (this.#published.length > keptWaits) this.#published.shift();
  };

  /** Newest first. */
  merges(run: RunState): MergeStatus[] {
    return this.#published
      .slice(-keptMerges)
      .reverse()
      .map(({ body, atMs }) => ({
        outerStep: body.outerStep,
        fragment: body.fragment,
        version: body.version,
        learners: body.shares.length,
        tokens: body.shares.reduce((sum, { claim }) => sum + tokensOf(run, claim), 0),
        atMs,
      }));
  }

  /** Median time from a claim's reveal to the fragment that holds it. */
  revealToPublishMs(run: RunState): number | null {
    const waits = this.#published.flatMap(({ body, atMs }) =>
      body.shares.flatMap(({ claim }) => {
        const revealedAtMs = run.claims.get(claim)?.revealedAtMs ?? null;
        return revealedAtMs === null ? [] : [atMs - revealedAtMs];
      }),
    );
    return waits.sort((a, b) => a - b)[Math.floor(waits.length / 2)] ?? null;
  }
}

function tokensOf(run: RunState, id: Parameters<RunState['claims']['get']>[0]): number {
  const claim = run.claims.get(id);
  return claim === undefined ? 0 : claimTokens(run, claim);
}
