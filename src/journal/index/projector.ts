/**
 * @file From the fold to the index's rows. It sees every fold from the first entry on, also of entries that are in the index
 * already: what it adds up itself is then right after a restart. It changes no state and knows no database.
 */
import type { EventBody, EventKind, JournalEntry } from '../../protocol/messages.ts';
import { fromDecimal, type Hash, type Hotkey, type LearnerId } from '../../protocol/names.ts';
import { countedTokens, manifestOf } from '../queries.ts';
import { weightsOf } from '../scores.ts';
import { type Claim, type Learner, type RunState, zeroHash } from '../state.ts';
import type {
  IndexBatch,
  IndexHead,
  MarkIndexRow,
  MarkKind,
  MergeIndexRow,
  MinerIndexRow,
  PointIndexRow,
  VerdictIndexRow,
} from './port.ts';
import { type AuditCounts, claimRowOf, type Merged, minerRowOf, noAudits, type Presence } from './rows.ts';

/** Changes with what the rows mean: an index of another version is made again. */
export const projectionVersion = 1;

/** Merges that the rate of tokens is taken over. */
const rateOver = 8;

type Body<K extends EventKind> = EventBody<K>;

export class Projector {
  /** Entries below are in the index: their rows are not made again. */
  readonly #indexed: number;
  readonly #merged = new Map<Hash, Merged>();
  readonly #presence = new Map<Hotkey, Presence>();
  /** Per fragment: the merge that is being computed. */
  readonly #merging = new Map<
    number,
    { readonly body: Body<'merge'>; readonly atMs: number; readonly openedAtMs: number | null }
  >();
  readonly #recent: { readonly atMs: number; readonly countedTokens: number }[] = [];
  readonly #audits = new Map<Hotkey, AuditCounts>();
  readonly #auditStatus = new Map<number, keyof AuditCounts>();
  readonly #presentLearners = new Set<LearnerId>();
  #opened: { readonly outerStep: number; readonly atMs: number } | null = null;
  #weights: ReadonlyMap<Hotkey, number> = new Map();
  /** Claims that an event about another thing may change: open, or before a jury. */
  #watched = new Set<Hash>();
  #from: { size: number; headHash: Hash };
  #dirtyClaims = new Set<Hash>();
  #dirtyMiners = new Set<Hotkey>();
  #merges: MergeIndexRow[] = [];
  #verdicts: VerdictIndexRow[] = [];
  #points: PointIndexRow[] = [];
  #marks: MarkIndexRow[] = [];

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
    if (entry.seq < this.#indexed) this.#dropRows();
  };

  /** Entries that are folded and not taken yet. */
  pending(state: RunState): number {
    return Math.max(0, state.size - this.#from.size);
  }

  /** What changed since the last taking; null for nothing. */
  take(state: RunState): IndexBatch | null {
    if (state.size <= this.#from.size) return null;
    const to = { size: state.size, headHash: state.headHash, lastTimeMs: state.lastTimeMs };
    const miners = [...this.#dirtyMiners].sort();
    const batch: IndexBatch = {
      ...{ from: this.#from, to },
      claims: [...this.#dirtyClaims].map((id) => claimRowOf(state, state.claims.get(id)!, this.#merged.get(id))),
      miners: miners.flatMap((hotkey) => this.#minerRows(state, hotkey)),
      ...{ merges: this.#merges, verdicts: this.#verdicts, points: this.#points, marks: this.#marks },
    };
    this.#from = { size: to.size, headHash: to.headHash };
    this.#dropRows();
    return batch;
  }

  /** None for a hotkey that never mined. */
  #minerRows(state: RunState, hotkey: Hotkey): MinerIndexRow[] {
    const presence = this.#presence.get(hotkey);
    if (presence === undefined) return [];
    const [audits, weight] = [this.#audits.get(hotkey) ?? noAudits(), this.#weights.get(hotkey) ?? 0];
    return [minerRowOf(state, hotkey, { presence, audits, weight })];
  }

  #dropRows(): void {
    this.#dirtyClaims = new Set();
    this.#dirtyMiners = new Set();
    this.#merges = [];
    this.#verdicts = [];
    this.#points = [];
    this.#marks = [];
  }

  /** What each kind of event may change, but for what the fold itself dates. */
  readonly #notes: { readonly [K in EventKind]?: (state: RunState, body: Body<K>, entry: JournalEntry) => void } = {
    join: (state, _, entry) => this.#notePresence(state, entry),
    leave: (state, _, entry) => this.#notePresence(state, entry),
    'fragment-due': (_, { outerStep }, { timeMs }) => {
      this.#opened = { outerStep, atMs: timeMs };
    },
    'claim-commit': (state) => this.#noteCommit(state),
    'claim-reveal': (state, { claim }) => this.#touch(state, claim),
    'claim-beacon': (state, { claim }) => this.#touch(state, claim),
    'claim-void': (state, { claim }) => this.#touch(state, claim),
    appeal: (state, { claim }) => this.#touch(state, claim),
    'dispute-close': (state, { claim }) => {
      this.#noteWeights(state);
      this.#touch(state, claim);
    },
    verdict: (state, body, entry) => this.#noteVerdict(state, body, entry),
    merge: (state, body, entry) => this.#noteMerge(state, body, entry),
    'fragment-published': (state, body, entry) => this.#notePublished(state, body, entry),
    'audit-challenge': (state, { audit }) => this.#noteAudit(state, audit),
    'audit-answer': (state, { audit }) => this.#noteAudit(state, audit),
    'audit-verdict': (state, { audit }) => this.#noteAudit(state, audit),
    'audit-close': (state, { audit }) => this.#noteAudit(state, audit),
    evaluation: (state, body, entry) => this.#noteEvaluation(state, body, entry),
    run: (state, _, entry) => this.#noteMark(state, entry, 'phase', 0),
    'phase-change': (state, { phase }, entry) => this.#noteMark(state, entry, 'phase', phase),
    release: (state, { release }, entry) => this.#noteMark(state, entry, 'release', release),
    'tree-head': (state, _, entry) => this.#noteMark(state, entry, 'tree-head', state.treeHeads.length - 1),
    tempo: (state, { tempo }, entry) => {
      this.#noteMark(state, entry, 'tempo', tempo);
      this.#noteWeights(state);
    },
  };

  #notePresence(state: RunState, { timeMs }: JournalEntry): void {
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
      this.#dirtyMiners.add(learner.hotkey);
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

  #noteCommit(state: RunState): void {
    // The newest claim is the last of the map; an event with many open claims must not cost their number.
    const id = lastOf(state.openClaims);
    if (id !== undefined) this.#touch(state, id);
  }

  #touch(state: RunState, id: Hash): void {
    const claim = state.claims.get(id);
    if (claim === undefined) return;
    this.#dirtyClaims.add(id);
    this.#dirtyMiners.add(claim.hotkey);
    if (state.openClaims.has(id) || state.openDisputes.has(id)) this.#watched.add(id);
    else this.#watched.delete(id);
  }

  #noteVerdict(state: RunState, body: Body<'verdict'>, entry: JournalEntry): void {
    this.#touch(state, body.claim);
    const claim = state.claims.get(body.claim)!;
    // A jury may have barred a validator, whose share goes to the others.
    if (body.round === 'ruling') this.#noteWeights(state);
    const validator = saidBy(claim, body.round);
    const { round, outcome, code, measurements } = body;
    const latencyMs = Math.max(0, entry.timeMs - (claim.revealedAtMs ?? entry.timeMs));
    this.#verdicts.push({
      seq: entry.seq,
      claim: body.claim,
      validator,
      round,
      outcome,
      code,
      atMs: entry.timeMs,
      latencyMs,
    });
    const gain = measurements.gain;
    if (gain !== undefined && Math.abs(fromDecimal(gain)) < 1e6)
      this.#point(state, entry, 'gain/gain', fromDecimal(gain));
  }

  #noteMerge(state: RunState, body: Body<'merge'>, { timeMs }: JournalEntry): void {
    const openedAtMs = this.#opened?.outerStep === body.outerStep ? this.#opened.atMs : null;
    this.#merging.set(body.fragment, { body, atMs: timeMs, openedAtMs });
    for (const { claim } of body.claims) this.#touch(state, claim);
  }

  #notePublished(state: RunState, body: Body<'fragment-published'>, entry: JournalEntry): void {
    const merging = this.#merging.get(body.fragment)!;
    const stalenessOf = new Map(merging.body.claims.map(({ claim, staleness }) => [claim, staleness]));
    for (const [order, { claim, ...numbers }] of body.shares.entries()) {
      const [share, norm, clippedNorm] = [numbers.share, numbers.norm, numbers.clippedNorm].map(fromDecimal);
      const staleness = stalenessOf.get(claim) ?? 0;
      this.#merged.set(claim, {
        ...{ outerStep: body.outerStep, order, staleness },
        ...{ share: share!, norm: norm!, clippedNorm: clippedNorm! },
      });
      const presence = this.#presence.get(state.claims.get(claim)!.hotkey);
      if (presence !== undefined) {
        presence.stalenessSum += staleness;
        presence.merged++;
      }
      this.#touch(state, claim);
    }
    // Those that the new version leaves behind are void.
    for (const id of [...this.#watched])
      if (state.claims.get(id)!.body.fragment === body.fragment) this.#touch(state, id);
    this.#merges.push(this.#mergeRow(state, body, entry));
    this.#mergePoints(state, entry);
  }

  #mergeRow(state: RunState, body: Body<'fragment-published'>, { seq, timeMs }: JournalEntry): MergeIndexRow {
    const { fragment, outerStep, version, artifact, momentum, durationMs, shares } = body;
    const merging = this.#merging.get(fragment)!;
    const merged = shares.map(({ claim }) => this.#merged.get(claim)!);
    const claims = shares.map(({ claim }) => state.claims.get(claim)!);
    const cellTokens = claims.reduce((sum, claim) => sum + claim.cellTokens, 0);
    return {
      ...{ outerStep, fragment, version, seq, durationMs, fromVersion: merging.body.fromVersion },
      ...{ openedAtMs: merging.openedAtMs, mergedAtMs: merging.atMs, atMs: timeMs },
      claims: claims.length,
      learners: new Set(claims.map(({ learner }) => learner)).size,
      tokens: cellTokens / manifestOf(state).fragments.count,
      countedTokens: countedTokens(state),
      maxNorm: merged.reduce((most, { norm }) => Math.max(most, norm), 0),
      maxClippedNorm: merged.reduce((most, { clippedNorm }) => Math.max(most, clippedNorm), 0),
      clipped: merged.filter(({ norm, clippedNorm }) => clippedNorm < norm).length,
      meanStaleness: mean(merged.map(({ staleness }) => staleness)),
      ...{ artifactRoot: artifact.root, artifactSizeBytes: artifact.sizeBytes },
      ...{ momentumRoot: momentum.root, momentumSizeBytes: momentum.sizeBytes },
    };
  }

  #mergePoints(state: RunState, entry: JournalEntry): void {
    const body = entry.message.body as Body<'fragment-published'>;
    const merged = body.shares.map(({ claim }) => this.#merged.get(claim)!);
    const waits = body.shares.flatMap(({ claim }) => {
      const { revealedAtMs } = state.claims.get(claim)!;
      return revealedAtMs === null ? [] : [entry.timeMs - revealedAtMs];
    });
    const first = this.#recent[0];
    this.#recent.push({ atMs: entry.timeMs, countedTokens: countedTokens(state) });
    if (this.#recent.length > rateOver) this.#recent.shift();
    if (first !== undefined && entry.timeMs > first.atMs) {
      const tokensPerSecond = ((countedTokens(state) - first.countedTokens) / (entry.timeMs - first.atMs)) * 1_000;
      this.#point(state, entry, 'throughput/tokensPerSecond', tokensPerSecond);
    }
    if (merged.length > 0) {
      this.#point(state, entry, 'norm/norm', median(merged.map(({ norm }) => norm)));
      this.#point(state, entry, 'norm/clippedNorm', median(merged.map(({ clippedNorm }) => clippedNorm)));
      this.#point(state, entry, 'staleness/staleness', mean(merged.map(({ staleness }) => staleness)));
    }
    if (waits.length > 0) this.#point(state, entry, 'latency/revealToPublishMs', median(waits));
    const uploads = body.shares.flatMap(({ claim }) => {
      const { revealedAtMs, committedAtMs } = state.claims.get(claim)!;
      return revealedAtMs === null ? [] : [revealedAtMs - committedAtMs];
    });
    if (uploads.length > 0) this.#point(state, entry, 'latency/commitToRevealMs', median(uploads));
    this.#point(state, entry, 'latency/mergeDurationMs', body.durationMs);
    const learners = new Set(body.shares.map(({ claim }) => state.claims.get(claim)!.learner)).size;
    this.#point(state, entry, 'participation/learners', learners);
    this.#point(state, entry, 'participation/present', this.#presentLearners.size);
  }

  #noteAudit(state: RunState, id: number): void {
    const audit = state.audits.get(id);
    if (audit === undefined) return;
    const { hotkey } = audit.body;
    const counts = this.#audits.get(hotkey) ?? noAudits();
    this.#audits.set(hotkey, counts);
    const before = this.#auditStatus.get(id);
    const now = audit.status === 'answered' ? 'open' : audit.status;
    if (before !== undefined) counts[before]--;
    counts[now]++;
    this.#auditStatus.set(id, now);
    this.#dirtyMiners.add(hotkey);
    // A proven fraud voids what is open of the hotkey.
    for (const claim of [...this.#watched]) if (state.claims.get(claim)!.hotkey === hotkey) this.#touch(state, claim);
  }

  #noteEvaluation(state: RunState, { release, losses, routers }: Body<'evaluation'>, entry: JournalEntry): void {
    // A release is evaluated after it was made; its numbers belong to its tokens.
    const record = state.releases[release]!;
    const at = { seq: entry.seq, atMs: record.atMs, countedTokens: fromDecimal(record.body.countedTokens) };
    for (const [stage, loss] of Object.entries(losses))
      this.#points.push({ ...at, series: `held-out-loss/${stage}`, value: fromDecimal(loss) });
    if (routers === undefined) return;
    for (const [name, value] of Object.entries({
      entropy: fromDecimal(routers.entropy),
      imbalance: fromDecimal(routers.imbalance),
      deadExperts: routers.deadExperts,
    }))
      this.#points.push({ ...at, series: `router-health/${name}`, value });
  }

  #noteMark(state: RunState, { seq, timeMs: atMs }: JournalEntry, kind: MarkKind, number: number): void {
    this.#marks.push({ kind, number, seq, atMs, countedTokens: countedTokens(state) });
  }

  /** Every weight may be another. */
  #noteWeights(state: RunState): void {
    this.#weights = weightsOf(state);
    for (const hotkey of this.#presence.keys()) this.#dirtyMiners.add(hotkey);
  }

  #point(state: RunState, { seq, timeMs: atMs }: JournalEntry, series: string, value: number): void {
    if (Number.isFinite(value)) this.#points.push({ series, seq, atMs, countedTokens: countedTokens(state), value });
  }
}

/** The last of an insertion-ordered set that is never large. */
function lastOf<T>(items: ReadonlySet<T>): T | undefined {
  let last: T | undefined;
  for (const item of items) last = item;
  return last;
}

/** Who said the newest verdict of a round. */
function saidBy({ verdicts, rechecked, dispute }: Claim, round: Body<'verdict'>['round']): Hotkey {
  const newest = { committee: verdicts.at(-1), recheck: rechecked, ruling: dispute?.rulings.at(-1) }[round];
  return newest!.hotkey;
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!;
}
