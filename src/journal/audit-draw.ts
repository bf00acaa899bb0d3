/**
 * @file Which segments of a trace an audit may be about, and the beacon's draw among them. Bounds what miner and syncer can
 * choose: segments are fixed before their block is known, and the draw does not depend on the order of challenges.
 */
import { type Candidate, drawCommittee, drawSegment } from '../protocol/draw.ts';
import { hashOfText } from '../protocol/hash.ts';
import type { EventBody } from '../protocol/messages.ts';
import type { Hash, Hotkey } from '../protocol/names.ts';
import { isDrawable, learnersOf, payCovered } from './pay.ts';
import { manifestOf, runOf } from './queries.ts';
import type { AuditSegment, Learner, RunState } from './state.ts';

/** Those who may redo a segment; where the first pass it, the others need not. */
const committeeSize = 5;

/** Cuts what a commit added to the learner's trace into segments; the newest W stay. */
export function extendSegments(state: RunState, learner: Learner, claim: Hash): void {
  const { sync, audit } = manifestOf(state);
  const every = sync.stateRootEverySteps;
  for (;;) {
    const from = learner.segmentFrom;
    const to = (Math.floor(from / every) + 1) * every;
    if (to > learner.innerSteps) break;
    learner.auditable.push({
      steps: [from, to],
      isFirst: from === learner.joinedAtStep,
      joinedAtStep: learner.joinedAtStep,
      claim,
      isDrawn: false,
    });
    learner.segmentFrom = to;
  }
  learner.auditable = learner.auditable.slice(-audit.window);
  payCovered(state, learner);
}

export interface Auditable {
  readonly learner: Learner;
  readonly segment: AuditSegment;
}

/**
 * Segments of a hotkey that block `block` may draw from: committed so early that their miner could not know it, and not
 * drawn yet. A claim that is under suspicion narrows them to its own steps, waiting for them while they may still come; where
 * they are gone any will do, or a copy would be safe in steps that no segment holds. In order of learner and steps.
 */
export function auditableSegments(
  state: RunState,
  hotkey: Hotkey,
  { block, claim }: { readonly block: number; readonly claim: Hash | null },
): Auditable[] {
  const drawable = learnersOf(state, hotkey).filter(isDrawable);
  const all = drawable.flatMap((learner) => learner.auditable.map((segment) => ({ learner, segment })));
  const free = all.filter(({ segment }) => !segment.isDrawn && (drawableFrom(state, segment) ?? Infinity) <= block);
  const suspected = claim === null ? undefined : state.claims.get(claim);
  if (suspected === undefined) return free;
  const [from, to] = suspected.body.steps;
  const isOfClaim = ({ learner, segment: { steps } }: Auditable): boolean =>
    learner.id === suspected.learner && steps[0] < to && steps[1] > from;
  const own = free.filter(isOfClaim);
  if (own.length > 0) return own;
  const holder = state.learners.get(suspected.learner)!;
  const mayCome =
    (isDrawable(holder) && holder.segmentFrom < to && to > holder.joinedAtStep) ||
    all.some((each) => !each.segment.isDrawn && isOfClaim(each));
  return mayCome ? [] : free;
}

/** Whether there is any that no suspicion narrows: `auditableSegments(…, { claim: null })` is not empty. */
export function hasAuditable(state: RunState, hotkey: Hotkey, block: number): boolean {
  for (const learner of learnersOf(state, hotkey)) {
    if (!isDrawable(learner)) continue;
    for (const segment of learner.auditable)
      if (!segment.isDrawn && (drawableFrom(state, segment) ?? Infinity) <= block) return true;
  }
  return false;
}

/** The beacon of the claim that committed a segment: from this block on it may be drawn; null before it is known. */
const drawableFrom = (state: RunState, { claim }: AuditSegment): number | null =>
  state.claims.get(claim)?.beacon?.block ?? null;

/** First block of a slot: the last part of a tempo is for settling what the others drew. */
export function slotBlock(state: RunState, slot: number): number {
  const { ledger, audit } = manifestOf(state);
  return state.tempo.block + Math.floor((slot * ledger.tempoBlocks) / (audit.perTempo + 1));
}

/** What is audited and why, beside the block and the validators. */
export type AuditPlace = Pick<EventBody<'audit-challenge'>, 'hotkey' | 'reason' | 'claim' | 'tempo' | 'slot'>;

/** The segment that the beacon draws, and who redoes it in which order; null if there is none to draw from. */
export function drawAudit(
  state: RunState,
  options: AuditPlace & {
    readonly block: number;
    readonly blockHash: Hash;
    readonly candidates: readonly Candidate[];
  },
): (Auditable & { readonly committee: readonly Hotkey[] }) | null {
  const { hotkey, blockHash, candidates } = options;
  const segments = auditableSegments(state, hotkey, options);
  if (segments.length === 0) return null;
  const draw = auditDrawId(state, options);
  const learners = [...new Set(segments.map(({ learner }) => learner))];
  const ofLearners = learners.map((learner) => segments.filter((segment) => segment.learner === learner));
  const shares = learners.map(({ unpaidCellTokens }, i) => ({
    weight: unpaidCellTokens,
    count: ofLearners[i]!.length,
  }));
  const [learner, segment] = drawSegment({ blockHash, draw, shares });
  const drawn = ofLearners[learner]![segment]!;
  const order = drawCommittee({ blockHash, claim: draw, candidates, size: candidates.length });
  // Whoever repeats a failure should have the learner's class of machine, if anybody has.
  const { machineClass } = drawn.learner.capabilities;
  const isAlike = (each: Hotkey): boolean => state.hotkeys.get(each)?.machineClass === machineClass;
  const rest = order.slice(1);
  const committee = [...order.slice(0, 1), ...rest.filter(isAlike), ...rest.filter((each) => !isAlike(each))];
  return { ...drawn, committee: committee.slice(0, committeeSize) };
}

/** Not by the audit's number: the order in which the syncer challenges several hotkeys must not matter. */
export const auditDrawId = (state: RunState, { hotkey, tempo, reason, slot, claim }: AuditPlace): Hash =>
  hashOfText(`audit ${runOf(state).id} ${hotkey} ${tempo} ${reason} ${reason === 'drawn' ? slot : claim}`);

/** From which block on the audit may be drawn: its slot's, and the first at which there was something to draw. */
export function firstBlockOf(state: RunState, body: EventBody<'audit-challenge'>): number {
  const segments = auditableSegments(state, body.hotkey, body);
  const first = Math.min(...segments.map(({ segment }) => drawableFrom(state, segment)!));
  return body.reason === 'drawn' ? Math.max(first, slotBlock(state, body.slot)) : first;
}
