/** @file Which claims an event may have changed, the verdicts on them, and how many each validator published. */
import type { EventBody, JournalEntry } from '../../protocol/messages.ts';
import { fromDecimal, type Hash, type Hotkey } from '../../protocol/names.ts';
import type { Claim, RunState } from '../state.ts';
import type { PendingRows } from './pending-rows.ts';
import type { ClaimIndexRow, ValidatorCounts } from './port.ts';
import { claimRowOf, type Merged } from './rows.ts';

/** A gain beyond says nothing, and would flatten its curve. */
const sensibleGain = 1e6;

export class ClaimProjection {
  readonly #rows: PendingRows;
  /** Claims that an event about another thing may change: open, or before a jury. */
  readonly #watched = new Set<Hash>();
  readonly #merged = new Map<Hash, Merged>();
  readonly #counts = new Map<Hotkey, ValidatorCounts>();

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

  noteVerdict(state: RunState, body: EventBody<'verdict'>, entry: JournalEntry): void {
    const { round, outcome, code, measurements } = body;
    this.touch(state, body.claim);
    const claim = state.claims.get(body.claim)!;
    const [validator, atMs] = [saidBy(claim, round), entry.timeMs];
    const latencyMs = Math.max(0, atMs - (claim.revealedAtMs ?? atMs));
    this.#rows.verdicts.push({ seq: entry.seq, claim: body.claim, validator, round, outcome, code, atMs, latencyMs });
    this.#count(validator, outcome, atMs);
    const gain = measurements.gain === undefined ? Number.NaN : fromDecimal(measurements.gain);
    if (Math.abs(gain) < sensibleGain) this.#rows.addPoint(state, entry, 'gain/gain', gain);
  }

  #count(validator: Hotkey, outcome: EventBody<'verdict'>['outcome'], atMs: number): void {
    const counts = this.#counts.get(validator) ?? { validator, accept: 0, ignore: 0, reject: 0, lastAtMs: 0 };
    this.#counts.set(validator, { ...counts, [outcome]: counts[outcome] + 1, lastAtMs: atMs });
    this.#rows.validators.add(validator);
  }

  noteMerged(state: RunState, id: Hash, merged: Merged): void {
    this.#merged.set(id, merged);
    this.touch(state, id);
  }

  claimRows(state: RunState): ClaimIndexRow[] {
    return [...this.#rows.claims].map((id) => claimRowOf(state, state.claims.get(id)!, this.#merged.get(id)));
  }

  validatorRows(): ValidatorCounts[] {
    return [...this.#rows.validators].map((validator) => this.#counts.get(validator)!);
  }
}

/** The last of an insertion-ordered set that is never large. */
function lastOf<T>(items: ReadonlySet<T>): T | undefined {
  let last: T | undefined;
  for (const item of items) last = item;
  return last;
}

/** Who said the newest verdict of a round. */
function saidBy({ verdicts, rechecked, dispute }: Claim, round: EventBody<'verdict'>['round']): Hotkey {
  const newest = { committee: verdicts.at(-1), recheck: rechecked, ruling: dispute?.rulings.at(-1) }[round];
  return newest!.hotkey;
}
