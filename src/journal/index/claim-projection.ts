/** @file Which claims an event may have changed. */
import type { Hash } from '../../protocol/names.ts';
import type { Claim, RunState } from '../state.ts';
import type { PendingRows } from './pending-rows.ts';
import type { ClaimIndexRow } from './port.ts';
import { claimRowOf, type Merged } from './rows.ts';

export class ClaimProjection {
  readonly #rows: PendingRows;
  /** Claims that an event about another thing may change: open, or before a jury. */
  readonly #watched = new Set<Hash>();
  readonly #merged = new Map<Hash, Merged>();

  constructor(rows: PendingRows) {
    this.#rows = rows;
  }

  touch(state: RunState, id: Hash): void {
    const claim = state.claims.get(id);
    if (claim === undefined) return;
    this.#rows.claims.add(id);
    this.#rows.miners.add(claim.hotkey);
    if (state.openClaims.has(id) || state.openDisputes.has(id)) this.#watched.add(id);
    else this.#watched.delete(id);
  }

  /** All watched ones that the condition holds for. */
  touchWatched(state: RunState, isMeant: (claim: Claim) => boolean): void {
    for (const id of [...this.#watched]) if (isMeant(state.claims.get(id)!)) this.touch(state, id);
  }

  noteCommit(state: RunState): void {
    // The newest claim is the last of the map; an event with many open claims must not cost their number.
    const id = lastOf(state.openClaims);
    if (id !== undefined) this.touch(state, id);
  }

  noteMerged(state: RunState, id: Hash, merged: Merged): void {
    this.#merged.set(id, merged);
    this.touch(state, id);
  }

  claimRows(state: RunState): ClaimIndexRow[] {
    return [...this.#rows.claims].map((id) => claimRowOf(state, state.claims.get(id)!, this.#merged.get(id)));
  }
}

/** The last of an insertion-ordered set that is never large. */
function lastOf<T>(items: ReadonlySet<T>): T | undefined {
  let last: T | undefined;
  for (const item of items) last = item;
  return last;
}
