/** @file Rows of claims and miners from the fold, and what the projector adds up beside it. */
import type { Hotkey } from '../../protocol/names.ts';
import { learnersOf } from '../pay.ts';
import { manifestOf } from '../queries.ts';
import type { Claim, Learner, RunState } from '../state.ts';
import type { ClaimIndexRow, MinerIndexRow } from './port.ts';

/** What the fold does not keep of a claim's merge. */
export interface Merged {
  readonly outerStep: number;
  readonly order: number;
  readonly staleness: number;
  readonly share: number;
  readonly norm: number;
  readonly clippedNorm: number;
}

/** What the fold does not keep of a hotkey that mines. */
export interface Presence {
  readonly firstJoinedAtMs: number;
  present: number;
  presentMs: number;
  sinceMs: number;
  stalenessSum: number;
  merged: number;
}

/** Audits of a hotkey by what came of them; answered ones are open. */
export interface AuditCounts {
  open: number;
  passed: number;
  failed: number;
  unchecked: number;
}

export const noAudits = (): AuditCounts => ({ open: 0, passed: 0, failed: 0, unchecked: 0 });

export function claimRowOf(state: RunState, claim: Claim, merged: Merged | undefined): ClaimIndexRow {
  const { body, id, hotkey, name, status, code, sentence } = claim;
  return {
    ...{ id, hotkey, name, status, code, sentence },
    ...{ outerStep: body.outerStep, fragment: body.fragment, phase: body.phase },
    ...{ stepFrom: body.steps[0], stepTo: body.steps[1] },
    tokens: claim.cellTokens / manifestOf(state).fragments.count,
    seq: claim.commitSeq,
    ...{ committedAtMs: claim.committedAtMs, revealedAtMs: claim.revealedAtMs },
    ...{ settledAtMs: claim.settledAtMs, mergedAtMs: claim.mergedAtMs },
    isOverturned: claim.isOverturned ? 1 : 0,
    isDisputed: claim.dispute === null ? 0 : 1,
    mergedOuterStep: merged?.outerStep ?? null,
    mergeOrder: merged?.order ?? null,
    staleness: merged?.staleness ?? null,
    mergeShare: merged?.share ?? null,
    norm: merged?.norm ?? null,
    clippedNorm: merged?.clippedNorm ?? null,
  };
}

/** Of a hotkey that has mined; `weight`: what an honest validator sets. */
export function minerRowOf(
  state: RunState,
  hotkey: Hotkey,
  { presence, audits, weight }: { readonly presence: Presence; readonly audits: AuditCounts; readonly weight: number },
): MinerIndexRow {
  const learners = learnersOf(state, hotkey);
  const sum = (of: (learner: Learner) => number): number => learners.reduce((total, each) => total + of(each), 0);
  const last = learners.reduce((a, b) => ((b.lastClaimAtMs ?? -1) > (a.lastClaimAtMs ?? -1) ? b : a));
  const accepted = sum(({ claims }) => claims.accepted);
  const refused = sum(({ claims }) => claims.refused);
  return {
    hotkey,
    learners: learners.map(({ name }) => ` ${name}`).join(''),
    learnersPresent: presence.present,
    tokens: sum(({ cellTokens }) => cellTokens) / manifestOf(state).fragments.count,
    committed: sum(({ claims }) => claims.committed),
    ...{ accepted, refused },
    voided: sum(({ claims }) => claims.voided),
    merged: sum(({ claims }) => claims.merged),
    quality: accepted + refused === 0 ? null : accepted / (accepted + refused),
    staleness: presence.merged === 0 ? null : presence.stalenessSum / presence.merged,
    presentMs: presence.presentMs,
    presentSinceMs: presence.present > 0 ? presence.sinceMs : null,
    firstJoinedAtMs: presence.firstJoinedAtMs,
    lastClaimAtMs: last.lastClaimAtMs,
    ...{ lastCode: last.lastCode, lastSentence: last.lastSentence },
    weight,
    ...{ auditsOpen: audits.open, auditsPassed: audits.passed, auditsFailed: audits.failed },
  };
}
