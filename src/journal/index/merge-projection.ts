/** @file Merges: a row for each published one, what it says of its claims, and the points of the curves that follow from merges. */
import type { EventBody, JournalEntry } from '../../protocol/messages.ts';
import { fromDecimal } from '../../protocol/names.ts';
import { countedTokens, manifestOf } from '../queries.ts';
import type { Claim, RunState } from '../state.ts';
import type { ClaimProjection } from './claim-projection.ts';
import type { MinerProjection } from './miner-projection.ts';
import type { PendingRows } from './pending-rows.ts';
import type { MergeIndexRow } from './port.ts';
import type { Merged } from './rows.ts';

/** Merges that the rate of tokens is taken over. */
const rateOver = 8;

type Published = EventBody<'fragment-published'>;

interface Merging {
  readonly body: EventBody<'merge'>;
  readonly atMs: number;
  readonly openedAtMs: number | null;
}

/** A claim and what its merge made of it. */
interface Part {
  readonly claim: Claim;
  readonly merged: Merged;
}

export class MergeProjection {
  readonly #rows: PendingRows;
  readonly #claims: ClaimProjection;
  readonly #miners: MinerProjection;
  /** Per fragment: the merge that is being computed. */
  readonly #merging = new Map<number, Merging>();
  readonly #recent: { readonly atMs: number; readonly countedTokens: number }[] = [];
  #opened: { readonly outerStep: number; readonly atMs: number } | null = null;

  constructor(rows: PendingRows, { claims, miners }: { claims: ClaimProjection; miners: MinerProjection }) {
    this.#rows = rows;
    this.#claims = claims;
    this.#miners = miners;
  }

  noteDue(outerStep: number, { timeMs }: JournalEntry): void {
    this.#opened = { outerStep, atMs: timeMs };
  }

  noteMerge(state: RunState, body: EventBody<'merge'>, { timeMs }: JournalEntry): void {
    const openedAtMs = this.#opened?.outerStep === body.outerStep ? this.#opened.atMs : null;
    this.#merging.set(body.fragment, { body, atMs: timeMs, openedAtMs });
    for (const { claim } of body.claims) this.#claims.touch(state, claim);
  }

  notePublished(state: RunState, body: Published, entry: JournalEntry): void {
    const merging = this.#merging.get(body.fragment)!;
    const parts = partsOf(state, body, merging);
    for (const { claim, merged } of parts) {
      this.#miners.noteMerged(claim.hotkey, merged.staleness);
      this.#claims.noteMerged(state, claim.id, merged);
    }
    // Those that the new version leaves behind are void.
    this.#claims.touchWatched(state, (claim) => claim.body.fragment === body.fragment);
    this.#rows.merges.push(mergeRowOf(state, parts, { body, entry, merging }));
    this.#addPoints(state, parts, entry);
  }

  #addPoints(state: RunState, parts: readonly Part[], entry: JournalEntry): void {
    const add = (series: string, value: number | null): void => {
      if (value !== null) this.#rows.addPoint(state, entry, series, value);
    };
    const atMs = entry.timeMs;
    const merged = parts.map((part) => part.merged);
    add('throughput/tokensPerSecond', this.#rate(state, atMs));
    add('norm/norm', median(merged.map(({ norm }) => norm)));
    add('norm/clippedNorm', median(merged.map(({ clippedNorm }) => clippedNorm)));
    add('staleness/staleness', merged.length === 0 ? null : mean(merged.map(({ staleness }) => staleness)));
    const revealed = parts.flatMap(({ claim: { revealedAtMs, committedAtMs } }) =>
      revealedAtMs === null ? [] : [{ revealedAtMs, committedAtMs }],
    );
    add('latency/revealToPublishMs', median(revealed.map(({ revealedAtMs }) => atMs - revealedAtMs)));
    add(
      'latency/commitToRevealMs',
      median(revealed.map(({ revealedAtMs, committedAtMs }) => revealedAtMs - committedAtMs)),
    );
    add('latency/mergeDurationMs', (entry.message.body as Published).durationMs);
    add('participation/learners', new Set(parts.map(({ claim }) => claim.learner)).size);
    add('participation/present', this.#miners.presentLearners);
  }

  /** Merged tokens a second over the newest merges; null for the first. */
  #rate(state: RunState, atMs: number): number | null {
    const first = this.#recent[0];
    const tokens = countedTokens(state);
    this.#recent.push({ atMs, countedTokens: tokens });
    if (this.#recent.length > rateOver) this.#recent.shift();
    if (first === undefined || atMs <= first.atMs) return null;
    return ((tokens - first.countedTokens) / (atMs - first.atMs)) * 1_000;
  }
}

/** In merge order. */
function partsOf(state: RunState, { outerStep, shares }: Published, { body }: Merging): Part[] {
  const stalenessOf = new Map(body.claims.map(({ claim, staleness }) => [claim, staleness]));
  return shares.map(({ claim, share, norm, clippedNorm }, order) => ({
    claim: state.claims.get(claim)!,
    merged: {
      ...{ outerStep, order, staleness: stalenessOf.get(claim) ?? 0, share: fromDecimal(share) },
      ...{ norm: fromDecimal(norm), clippedNorm: fromDecimal(clippedNorm) },
    },
  }));
}

function mergeRowOf(
  state: RunState,
  parts: readonly Part[],
  { body, entry, merging }: { body: Published; entry: JournalEntry; merging: Merging },
): MergeIndexRow {
  const { fragment, outerStep, version, artifact, momentum, durationMs } = body;
  const merged = parts.map((part) => part.merged);
  const cellTokens = parts.reduce((sum, { claim }) => sum + claim.cellTokens, 0);
  return {
    ...{ outerStep, fragment, version, seq: entry.seq, durationMs, fromVersion: merging.body.fromVersion },
    ...{ openedAtMs: merging.openedAtMs, mergedAtMs: merging.atMs, atMs: entry.timeMs },
    claims: parts.length,
    learners: new Set(parts.map(({ claim }) => claim.learner)).size,
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

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);

const median = (values: readonly number[]): number | null =>
  values.length === 0 ? null : [...values].sort((a, b) => a - b)[values.length >> 1]!;
