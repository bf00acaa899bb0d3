/**
 * @file From the fold to the index's rows. It sees every fold from the first entry on, also of entries that are in the index
 * already: what it adds up itself is then right after a restart. It changes no state and knows no database.
 */
import type { EventBody, EventKind, JournalEntry } from '../../protocol/messages.ts';
import { fromDecimal, type Hash } from '../../protocol/names.ts';
import { type RunState, zeroHash } from '../state.ts';
import { ClaimProjection } from './claim-projection.ts';
import { MergeProjection } from './merge-projection.ts';
import { MinerProjection } from './miner-projection.ts';
import { PendingRows } from './pending-rows.ts';
import type { IndexBatch, IndexHead } from './port.ts';
import { ValidatorProjection } from './validator-projection.ts';

/** Changes with what the rows mean: an index of another version is made again. */
export const projectionVersion = 2;

type Note<K extends EventKind> = (state: RunState, body: EventBody<K>, entry: JournalEntry) => void;

export class Projector {
  /** Entries below are in the index: their rows are not made again. */
  readonly #indexed: number;
  readonly #rows = new PendingRows();
  readonly #claims = new ClaimProjection(this.#rows);
  readonly #miners = new MinerProjection(this.#rows);
  readonly #validators = new ValidatorProjection(this.#rows);
  readonly #merges = new MergeProjection(this.#rows, { claims: this.#claims, miners: this.#miners });
  #from: { size: number; headHash: Hash };

  constructor(indexed: Pick<IndexHead, 'size' | 'headHash'> = { size: 0, headHash: zeroHash }) {
    this.#indexed = indexed.size;
    this.#from = { size: indexed.size, headHash: indexed.headHash };
  }

  /** To be called after each entry was folded, from the first on. */
  readonly onFold = (state: RunState, entry: JournalEntry): void => {
    const note = this.#notes[entry.message.kind as EventKind] as
      | ((state: RunState, body: unknown, entry: JournalEntry) => void)
      | undefined;
    note?.(state, entry.message.body, entry);
    if (entry.seq < this.#indexed) this.#rows.drop();
  };

  /** Entries that are folded and not taken yet. */
  pending(state: RunState): number {
    return Math.max(0, state.size - this.#from.size);
  }

  /** What changed since the last taking; null for nothing. */
  take(state: RunState): IndexBatch | null {
    if (state.size <= this.#from.size) return null;
    const to = { size: state.size, headHash: state.headHash, lastTimeMs: state.lastTimeMs };
    const { merges, points, marks } = this.#rows;
    const batch: IndexBatch = {
      ...{ from: this.#from, to },
      claims: this.#claims.claimRows(state),
      miners: this.#miners.minerRows(state),
      validators: this.#validators.validatorRows(),
      ...{ merges, points, marks },
    };
    this.#from = { size: to.size, headHash: to.headHash };
    this.#rows.drop();
    return batch;
  }

  /** What each kind of event may change, but for what the fold itself dates. */
  readonly #notes: { readonly [K in EventKind]?: Note<K> } = {
    join: (state, _, entry) => this.#miners.notePresence(state, entry),
    leave: (state, _, entry) => this.#miners.notePresence(state, entry),
    'fragment-due': (_, { outerStep }, entry) => this.#merges.noteDue(outerStep, entry),
    'claim-commit': (state) => this.#claims.noteCommit(state),
    'claim-reveal': (state, { claim }) => this.#claims.touch(state, claim),
    'claim-beacon': (state, { claim }) => this.#claims.touch(state, claim),
    'claim-void': (state, { claim }) => this.#claims.touch(state, claim),
    appeal: (state, { claim }) => this.#claims.touch(state, claim),
    'dispute-close': (state, { claim }) => {
      this.#miners.noteWeights(state);
      this.#claims.touch(state, claim);
    },
    verdict: (state, body, entry) => {
      // A jury may have barred a validator, whose share goes to the others.
      if (body.round === 'ruling') this.#miners.noteWeights(state);
      this.#claims.touch(state, body.claim);
      this.#validators.noteVerdict(state, body, entry);
    },
    merge: (state, body, entry) => this.#merges.noteMerge(state, body, entry),
    'fragment-published': (state, body, entry) => this.#merges.notePublished(state, body, entry),
    'audit-challenge': (state, { audit }) => this.#noteAudit(state, audit),
    'audit-answer': (state, { audit }) => this.#noteAudit(state, audit),
    'audit-verdict': (state, { audit }) => {
      this.#validators.noteAuditVerdict(state, audit);
      this.#noteAudit(state, audit);
    },
    'audit-close': (state, { audit }) => this.#noteAudit(state, audit),
    evaluation: (state, body, entry) => this.#noteEvaluation(state, body, entry),
    run: (state, _, entry) => this.#rows.addMark(state, entry, 'phase', 0),
    'phase-change': (state, { phase }, entry) => this.#rows.addMark(state, entry, 'phase', phase),
    release: (state, { release }, entry) => this.#rows.addMark(state, entry, 'release', release),
    'tree-head': (state, _, entry) => this.#rows.addMark(state, entry, 'tree-head', state.treeHeads.length - 1),
    tempo: (state, { tempo }, entry) => {
      this.#rows.addMark(state, entry, 'tempo', tempo);
      this.#miners.noteWeights(state);
    },
  };

  /** A proven fraud voids what is open of the hotkey. */
  #noteAudit(state: RunState, id: number): void {
    const hotkey = this.#miners.noteAudit(state, id);
    if (hotkey !== null) this.#claims.touchWatched(state, (claim) => claim.hotkey === hotkey);
  }

  /** A release is evaluated after it was made; its numbers belong to its tokens. */
  #noteEvaluation(state: RunState, { release, losses, routers }: EventBody<'evaluation'>, { seq }: JournalEntry): void {
    const { atMs, body } = state.releases[release]!;
    const at = { seq, atMs, countedTokens: fromDecimal(body.countedTokens) };
    for (const [stage, loss] of Object.entries(losses))
      this.#rows.points.push({ ...at, series: `held-out-loss/${stage}`, value: fromDecimal(loss) });
    if (routers === undefined) return;
    for (const [name, value] of Object.entries({
      entropy: fromDecimal(routers.entropy),
      imbalance: fromDecimal(routers.imbalance),
      deadExperts: routers.deadExperts,
    }))
      this.#rows.points.push({ ...at, series: `router-health/${name}`, value });
  }
}
