/**
 * @file When merged cells may be paid. A claim's cells are payable once all its steps lie in whole trace segments, which the
 * beacon may draw: otherwise a learner that always begins anew before a segment ends would be paid for what nobody can
 * redo. Without audits they are payable at once.
 */
import type { Decimal, Hotkey } from '../protocol/names.ts';
import { claimsOf, indexesOf } from './indexes.ts';
import { manifestOf } from './queries.ts';
import { decayOf } from './scores.ts';
import { hotkeyState } from './standing.ts';
import type { Claim, HotkeyState, Learner, RunState, TempoRecord } from './state.ts';

/** A claim was merged. */
export function countPay(state: RunState, claim: Claim): void {
  if (claim.isOverturned) return;
  const learner = state.learners.get(claim.learner)!;
  if (isCovered(state, learner, claim)) credit(state, learner, claim);
  else learner.waiting.add(claim.id);
}

/** A segment has ended. */
export function payCovered(state: RunState, learner: Learner): void {
  for (const id of [...learner.waiting]) {
    const claim = state.claims.get(id)!;
    if (!isCovered(state, learner, claim)) continue;
    learner.waiting.delete(id);
    credit(state, learner, claim);
  }
}

/** A learner begins anew: its steps after the last whole segment are never paid, and its next segment begins here. */
export function breakTrace(state: RunState, learner: Learner): void {
  if (manifestOf(state).audit.perTempo > 0)
    for (const claim of claimsOf(state, learner.id)) {
      const [from, to] = claim.body.steps;
      if (to <= learner.segmentFrom) continue;
      const held = Math.max(0, learner.segmentFrom - from);
      claim.payableCellTokens = Math.floor((claim.payableCellTokens * held) / (to - from));
    }
  learner.joinedAtStep = learner.innerSteps;
  learner.segmentFrom = learner.innerSteps;
  payCovered(state, learner);
}

const isCovered = (state: RunState, learner: Learner, { body }: Claim): boolean =>
  manifestOf(state).audit.perTempo === 0 || body.steps[1] <= learner.segmentFrom;

function credit(state: RunState, learner: Learner, { payableCellTokens }: Claim): void {
  learner.unpaidCellTokens += payableCellTokens;
  hotkeyState(state, learner.hotkey).tempoCellTokens += payableCellTokens;
}

/** A merged claim is not paid after all; if it was, the learner's other work makes up for it. */
export function unpay(state: RunState, claim: Claim): void {
  const learner = state.learners.get(claim.learner)!;
  if (learner.waiting.delete(claim.id)) return;
  const standing = hotkeyState(state, claim.hotkey);
  const taken = Math.min(learner.unpaidCellTokens, claim.payableCellTokens);
  learner.unpaidCellTokens -= taken;
  const fromTempo = Math.min(standing.tempoCellTokens, taken);
  standing.tempoCellTokens -= fromTempo;
  standing.heldCellTokens -= taken - fromTempo;
}

/** All that the hotkey could still be paid for. Cell-tokens. */
export function dropPay(state: RunState, hotkey: Hotkey): number {
  const standing = hotkeyState(state, hotkey);
  let dropped = standing.tempoCellTokens + standing.heldCellTokens;
  for (const learner of learnersOf(state, hotkey)) {
    for (const id of learner.waiting) dropped += state.claims.get(id)!.payableCellTokens;
    learner.waiting.clear();
    learner.unpaidCellTokens = 0;
  }
  Object.assign(standing, { tempoCellTokens: 0, heldCellTokens: 0 });
  return dropped;
}

/**
 * Closes a tempo for a hotkey. If its work is cleared, that of its learners which can be drawn for an audit is scored; other
 * work is held for a later tempo.
 */
export function closeTempo(
  state: RunState,
  standing: HotkeyState,
  { isCleared, halfLifeTempos, passed }: ClosedTempo,
): TempoRecord['work'][number] {
  const decay = decayOf(halfLifeTempos, passed);
  const { hotkey, tempoVerdicts: verdicts } = standing;
  const isAudited = manifestOf(state).audit.perTempo > 0;
  let cellTokens = 0;
  if (isCleared)
    for (const learner of learnersOf(state, hotkey)) {
      if (isAudited && !isDrawable(learner)) continue;
      cellTokens += learner.unpaidCellTokens;
      learner.unpaidCellTokens = 0;
    }
  const heldCellTokens = standing.heldCellTokens + standing.tempoCellTokens - cellTokens;
  Object.assign(standing, {
    heldCellTokens,
    score: standing.score * decay + cellTokens,
    verdictScore: standing.verdictScore * decay + verdicts,
    ...{ tempoCellTokens: 0, tempoVerdicts: 0, tempoAuditsDrawn: 0, tempoAuditsPassed: 0, tempoAppealsLost: 0 },
  });
  return { hotkey, cellTokens, heldCellTokens, verdicts };
}

interface ClosedTempo {
  readonly isCleared: boolean;
  readonly halfLifeTempos: Decimal;
  /** Tempos since the last one that was opened. */
  readonly passed: number;
}

/** Whether audits may be drawn from the learner: whoever has left cannot answer, and is paid when it is back. */
export const isDrawable = ({ present, isSilent }: Learner): boolean => present && !isSilent;

/** In order of name. */
export const learnersOf = (state: RunState, hotkey: Hotkey): readonly Learner[] =>
  indexesOf(state).learners.get(hotkey) ?? [];
