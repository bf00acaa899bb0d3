/** @file What the fold does not keep of those who mine: since when they are present, their audits by outcome, their weights. */
import type { JournalEntry } from '../../protocol/messages.ts';
import type { Hotkey, LearnerId } from '../../protocol/names.ts';
import { weightsOf } from '../scores.ts';
import type { Learner, RunState } from '../state.ts';
import type { PendingRows } from './pending-rows.ts';
import type { MinerIndexRow } from './port.ts';
import { type AuditCounts, minerRowOf, noAudits, type Presence } from './rows.ts';

export class MinerProjection {
  readonly #rows: PendingRows;
  readonly #presence = new Map<Hotkey, Presence>();
  readonly #presentLearners = new Set<LearnerId>();
  readonly #audits = new Map<Hotkey, AuditCounts>();
  readonly #auditStatus = new Map<number, keyof AuditCounts>();
  #weights: ReadonlyMap<Hotkey, number> = new Map();

  constructor(rows: PendingRows) {
    this.#rows = rows;
  }

  get presentLearners(): number {
    return this.#presentLearners.size;
  }

  notePresence(state: RunState, { timeMs }: JournalEntry): void {
    // One learner entered or went: the fold says which.
    for (const learner of state.learners.values()) {
      if (learner.present === this.#presentLearners.has(learner.id)) continue;
      const presence = this.#presenceOf(learner, timeMs);
      if (learner.present) {
        this.#presentLearners.add(learner.id);
        if (presence.present++ === 0) presence.sinceMs = timeMs;
      } else {
        this.#presentLearners.delete(learner.id);
        if (--presence.present === 0) presence.presentMs += timeMs - presence.sinceMs;
      }
      this.#rows.miners.add(learner.hotkey);
    }
  }

  #presenceOf({ hotkey }: Learner, timeMs: number): Presence {
    const known = this.#presence.get(hotkey);
    if (known !== undefined) return known;
    const zeros = { present: 0, presentMs: 0, stalenessSum: 0, merged: 0 };
    const presence: Presence = { ...zeros, firstJoinedAtMs: timeMs, sinceMs: timeMs };
    this.#presence.set(hotkey, presence);
    return presence;
  }

  noteMerged(hotkey: Hotkey, staleness: number): void {
    const presence = this.#presence.get(hotkey);
    if (presence === undefined) return;
    presence.stalenessSum += staleness;
    presence.merged++;
  }

  /** The hotkey that an audit is about. */
  noteAudit(state: RunState, id: number): Hotkey | null {
    const audit = state.audits.get(id);
    if (audit === undefined) return null;
    const { hotkey } = audit.body;
    const counts = this.#audits.get(hotkey) ?? noAudits();
    this.#audits.set(hotkey, counts);
    const before = this.#auditStatus.get(id);
    const now = audit.status === 'answered' ? 'open' : audit.status;
    if (before !== undefined) counts[before]--;
    counts[now]++;
    this.#auditStatus.set(id, now);
    this.#rows.miners.add(hotkey);
    return hotkey;
  }

  /** Every weight may be another. */
  noteWeights(state: RunState): void {
    this.#weights = weightsOf(state);
    for (const hotkey of this.#presence.keys()) this.#rows.miners.add(hotkey);
  }

  /** None for a hotkey that never mined. */
  minerRows(state: RunState): MinerIndexRow[] {
    return [...this.#rows.miners].sort().flatMap((hotkey) => {
      const presence = this.#presence.get(hotkey);
      if (presence === undefined) return [];
      const [audits, weight] = [this.#audits.get(hotkey) ?? noAudits(), this.#weights.get(hotkey) ?? 0];
      return [minerRowOf(state, hotkey, { presence, audits, weight })];
    });
  }
}
