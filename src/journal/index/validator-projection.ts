/** @file What validators publish: how many verdicts of which outcome, how quick, how many audits; and the gains that verdicts tell. */
import type { EventBody, JournalEntry } from '../../protocol/messages.ts';
import { fromDecimal, type Hotkey } from '../../protocol/names.ts';
import type { Claim, RunState } from '../state.ts';
import type { PendingRows } from './pending-rows.ts';
import type { ValidatorIndexRow } from './port.ts';

/** Verdicts that a validator's speed is taken over. */
const medianOver = 200;
/** A gain beyond says nothing, and would flatten its curve. */
const sensibleGain = 1e6;

type Verdict = EventBody<'verdict'>;

interface Published {
  accept: number;
  ignore: number;
  reject: number;
  audits: number;
  lastAtMs: number | null;
  /** The newest, oldest first. */
  latenciesMs: number[];
}

export class ValidatorProjection {
  readonly #rows: PendingRows;
  readonly #published = new Map<Hotkey, Published>();

  constructor(rows: PendingRows) {
    this.#rows = rows;
  }

  noteVerdict(state: RunState, { claim: id, round, outcome, measurements }: Verdict, entry: JournalEntry): void {
    const claim = state.claims.get(id)!;
    const published = this.#publishedBy(saidBy(claim, round));
    published[outcome]++;
    published.lastAtMs = entry.timeMs;
    if (round === 'committee') {
      published.latenciesMs.push(Math.max(0, entry.timeMs - (claim.revealedAtMs ?? entry.timeMs)));
      if (published.latenciesMs.length > medianOver) published.latenciesMs.shift();
    }
    const gain = measurements.gain === undefined ? Number.NaN : fromDecimal(measurements.gain);
    if (Math.abs(gain) < sensibleGain) this.#rows.addPoint(state, entry, 'gain/gain', gain);
  }

  noteAuditVerdict(state: RunState, audit: number): void {
    this.#publishedBy(state.audits.get(audit)!.verdicts.at(-1)!.hotkey).audits++;
  }

  #publishedBy(validator: Hotkey): Published {
    const none = { accept: 0, ignore: 0, reject: 0, audits: 0, lastAtMs: null, latenciesMs: [] };
    const published = this.#published.get(validator) ?? none;
    this.#published.set(validator, published);
    this.#rows.validators.add(validator);
    return published;
  }

  validatorRows(): ValidatorIndexRow[] {
    return [...this.#rows.validators].map((validator) => {
      const { latenciesMs, ...counts } = this.#published.get(validator)!;
      const medianLatencyMs = [...latenciesMs].sort((a, b) => a - b)[latenciesMs.length >> 1] ?? null;
      return { validator, ...counts, medianLatencyMs };
    });
  }
}

/** Who said the newest verdict of a round. */
function saidBy({ verdicts, rechecked, dispute }: Claim, round: Verdict['round']): Hotkey {
  const newest = { committee: verdicts.at(-1), recheck: rechecked, ruling: dispute?.rulings.at(-1) }[round];
  return newest!.hotkey;
}
