/**
 * @file The orchestrator's decisions, without a clock, a network or a disk. Level-triggered: after every event it looks
 * at the fold and says the next thing that is due. One journaled event at a time, so that each decision sees the last.
 */

import { auditableSegments, drawAudit, hasAuditable, slotBlock } from '../../journal/audit-draw.ts';
import { auditCheckMs, isUnderAudit } from '../../journal/audits.ts';
import { beaconDelayBlocks, drawForClaim } from '../../journal/claims.ts';
import { proposeMerge, segmentHash, treeHeadOf } from '../../journal/fold.ts';
import { acceptedOf, indexesOf, lastMoved, untrainedOf } from '../../journal/indexes.ts';
import { duePhaseChange } from '../../journal/phases.ts';
import {
  countedTokens,
  isOnProbation,
  isReleaseDue,
  manifestOf,
  mergeableClaims,
  nextLeaseRange,
  openClaims,
  openLeases,
  phaseOf,
  revealMsOf,
  stalenessOf,
  tempoAt,
  validatorsOf,
  verdictMsOf,
} from '../../journal/queries.ts';
import type { Claim, HotkeyState, Learner, Lease, RunState } from '../../journal/state.ts';
import { type GraceOptions, graceMs, observeTimes, unmeasured } from '../../merge/grace.ts';
import type { EventBody, RunEvent } from '../../protocol/messages.ts';
import { fromDecimal, type Hotkey, type LearnerId, toDecimal } from '../../protocol/names.ts';
import { countRanges } from '../../util/ranges.ts';
import type { OrchestratorEffect, OrchestratorEvent, OrchestratorState, Rule } from './events.ts';

/** A role whose last heartbeat is older is not counted on. */
export const heartbeatFreshMs = 8_000;
/** An asked-for end does not wait longer than this for claims and evaluations. */
const stopTimeoutMs = 15_000;
const smoothing = 0.2;
const keptBlocks = 256;
/** All open leases are looked at no more and no less often. */
const shortestCheckMs = 500;
const longestCheckMs = 60_000;

export function initialState(run: RunState): OrchestratorState {
  return {
    run,
    startedAtMs: null,
    head: null,
    blocks: new Map(),
    commitBlocks: new Map(),
    committedAtMs: new Map(),
    validatorsSeen: new Map(),
    learnersSeen: new Map(),
    stakeRao: new Map(),
    quorumAtMs: null,
    averages: unmeasured,
    busy: new Set(),
    isJournaling: false,
    finished: new Set(),
    quiet: new Set(),
    pace: { atMs: Number.NEGATIVE_INFINITY, learners: 0, merging: 0 },
    leaseCheck: { moved: new Set(), fromMs: Number.NEGATIVE_INFINITY },
    staleCheck: new Set(run.fragments.keys()),
    awaited: { learner: null },
    stop: { state: 'running', atMs: 0 },
  };
}

export function step(
  before: OrchestratorState,
  event: OrchestratorEvent,
): [OrchestratorState, readonly OrchestratorEffect[]] {
  const started = before.startedAtMs === null ? { ...before, startedAtMs: event.nowMs } : before;
  wake(started, event);
  const taken = noteQuorum(take(started, event), event.nowMs);
  const state = { ...taken, stop: stopAfter(taken, event.nowMs) };
  const next = state.isJournaling ? null : nextEvent(state, event.nowMs);
  const work = nextWork(state);
  const busy = work.length === 0 ? state.busy : new Set([...state.busy, ...work.map((effect) => effect.key)]);
  if (next === null) return [{ ...state, busy }, work];
  return [{ ...state, busy, isJournaling: true }, [...work, { kind: 'journal', event: next }]];
}

/** What the event itself changes. */
function take(state: OrchestratorState, event: OrchestratorEvent): OrchestratorState {
  switch (event.kind) {
    case 'tick':
      return state;
    case 'settled':
      return { ...state, isJournaling: false };
    case 'stop':
      return state.stop.state !== 'running' ? state : { ...state, stop: { state: 'stopping', atMs: event.nowMs } };
    case 'block': {
      const blocks = new Map(state.blocks).set(event.block.number, event.block.hash);
      blocks.delete(event.block.number - keptBlocks);
      return placeCommits({ ...state, head: event.block, blocks });
    }
    case 'heartbeat':
      if (event.role === 'validator') state.validatorsSeen.set(event.hotkey, event.nowMs);
      else state.learnersSeen.set(event.learner, event.nowMs);
      return state;
    case 'stake':
      return { ...state, stakeRao: event.stakeRao };
    case 'done':
      return { ...state, busy: lessKey(state.busy, event.key), finished: new Set([...state.finished, event.key]) };
    case 'failed':
      return { ...state, busy: lessKey(state.busy, event.key) };
    case 'journaled':
      return takeJournaled(state, event);
  }
}

function lessKey(keys: ReadonlySet<string>, key: string): Set<string> {
  const rest = new Set(keys);
  rest.delete(key);
  return rest;
}

/** A commit whose block or beacon was not seen (restart, sleep) counts as of now: its beacon must not be known yet. */
function placeCommits(state: OrchestratorState): OrchestratorState {
  const { number } = state.head!;
  const { commitBlocks } = state;
  const { committed } = indexesOf(state.run).open;
  for (const id of committed) {
    const block = (commitBlocks.get(id) ?? Number.NEGATIVE_INFINITY) + beaconDelayBlocks;
    if (block <= number && !state.blocks.has(block)) commitBlocks.set(id, number);
  }
  return state;
}

function takeJournaled(
  state: OrchestratorState,
  { event, id, nowMs }: Extract<OrchestratorEvent, { kind: 'journaled' }>,
): OrchestratorState {
  const { averages } = state;
  if (event.kind === 'claim-commit') {
    const learner = state.run.learners.get(state.run.claims.get(id)!.learner)!;
    const seenAtMs = state.committedAtMs.get(learner.id);
    const steps = event.body.trace.lines[1] - event.body.trace.lines[0];
    const measured = seenAtMs === undefined ? {} : { stepMs: (nowMs - seenAtMs) / steps };
    state.committedAtMs.set(learner.id, nowMs);
    if (state.head !== null) state.commitBlocks.set(id, state.head.number);
    // A commit is a sign of life, as a heartbeat is.
    state.learnersSeen.set(learner.id, nowMs);
    return { ...state, averages: observeTimes(averages, measured, graceOptions(state.run)) };
  }
  if (event.kind === 'join' || event.kind === 'leave') {
    const { id: moved } = lastMoved(state.run)!;
    if (event.kind === 'join') state.learnersSeen.set(moved, nowMs);
    state.leaseCheck.moved.add(moved);
    return state;
  }
  if (event.kind === 'claim-beacon') {
    state.commitBlocks.delete(event.body.claim);
    return state;
  }
  if (event.kind === 'fragment-published') {
    state.staleCheck.add(event.body.fragment);
    const measured = { syncMs: event.body.durationMs };
    return { ...state, averages: observeTimes(averages, measured, graceOptions(state.run)) };
  }
  if (event.kind === 'merge') return { ...state, quorumAtMs: null };
  if (event.kind === 'fragment-due') return { ...state, quorumAtMs: null };
  return state;
}

/** Remembers when the due outer step reached its quorum, and learns how long that takes. */
function noteQuorum(state: OrchestratorState, nowMs: number): OrchestratorState {
  const { due } = state.run;
  if (due === null || state.quorumAtMs !== null) return state;
  const { learners } = acceptedOf(state.run, due.fragment);
  // Those of hotkeys on probation are among them: few enough are too few.
  if (learners.size === 0 || !isQuorum(state, learners.size, nowMs)) return state;
  if (!isQuorum(state, learnersOf(mergeableClaims(state.run, due.fragment)).size, nowMs)) return state;
  const measured = { quorumMs: nowMs - due.openedAtMs };
  return { ...state, quorumAtMs: nowMs, averages: observeTimes(state.averages, measured, graceOptions(state.run)) };
}

const learnersOf = (claims: readonly Claim[]): Set<LearnerId> => new Set(claims.map((claim) => claim.learner));

/** Learners that joined, did not leave, and gave a sign of life. */
export function* liveLearners(state: OrchestratorState, nowMs: number): Generator<Learner> {
  for (const learner of state.run.learners.values())
    if (learner.present && isAlive(state, learner.id, nowMs)) yield learner;
}

function isAlive(state: OrchestratorState, learner: LearnerId, nowMs: number): boolean {
  return isFresh(state.learnersSeen.get(learner) ?? state.startedAtMs ?? nowMs, nowMs);
}

const isFresh = (seenAtMs: number, nowMs: number): boolean => nowMs - seenAtMs < heartbeatFreshMs;

/** A live learner whose claims can be merged now. */
const isMerging = (state: OrchestratorState, { id, hotkey, present }: Learner, nowMs: number): boolean =>
  present && isAlive(state, id, nowMs) && !isOnProbation(state.run, hotkey);

/** Are so many learners K, or all that there are? */
function isQuorum(state: OrchestratorState, count: number, nowMs: number): boolean {
  const { quorum } = manifestOf(state.run).sync;
  if (count >= quorum || count === 0) return count >= quorum;
  if (count < paceOf(state, nowMs).merging) return false;
  // It may be so, by a count that is not of this moment.
  return count >= countPace(state, nowMs).merging;
}

/** One learner's count matters little to the pace of thousands. */
const paceFreshMs = ({ run }: OrchestratorState): number => 4 * Math.max(0, run.learners.size - 100);

/** How many learners live, or lived a moment ago, and how many of them can be merged. */
const paceOf = (state: OrchestratorState, nowMs: number): OrchestratorState['pace'] =>
  nowMs - state.pace.atMs >= paceFreshMs(state) ? countPace(state, nowMs) : state.pace;

function countPace(state: OrchestratorState, nowMs: number): OrchestratorState['pace'] {
  const waiting = new Set([...state.run.hotkeys.keys()].filter((hotkey) => isOnProbation(state.run, hotkey)));
  let learners = 0;
  let merging = 0;
  for (const { hotkey } of liveLearners(state, nowMs)) {
    learners++;
    if (!waiting.has(hotkey)) merging++;
  }
  return Object.assign(state.pace, { atMs: nowMs, learners, merging });
}

/** An asked-for end: what can still be merged is merged, a release that became due is evaluated and written. */
function stopAfter(state: OrchestratorState, nowMs: number): OrchestratorState['stop'] {
  const { stop, run } = state;
  if (stop.state !== 'stopping') return stop;
  const isClaimMoving = openClaims(run).some(
    ({ status, body, hotkey }) =>
      status !== 'accepted' || (body.fragment === run.due?.fragment && !isOnProbation(run, hotkey)),
  );
  const last = run.releases.at(-1)?.body.release;
  const isWritten = last === undefined || state.finished.has(releaseKey(last));
  const isOver = !isClaimMoving && isWritten && state.busy.size === 0;
  return isOver || nowMs - stop.atMs > stopTimeoutMs ? { ...stop, state: 'stopped' } : stop;
}

/** The next event that the syncer has to journal, or null. The order is by urgency. */
export function nextEvent(state: OrchestratorState, nowMs: number): RunEvent | null {
  if (state.run.run === null || state.stop.state === 'stopped') return null;
  for (const rule of rules) {
    if (state.quiet.has(rule)) continue;
    const event = rule(state, nowMs);
    if (event !== null) return event;
    if (patient.has(rule)) state.quiet.add(rule);
  }
  return null;
}

/**
 * Rules that look through all leases, claims or hotkeys. What they look for comes with time, or with an event of these kinds; other
 * events, a thousand times as many, need not have everything looked through again.
 */
function wake({ quiet, validatorsSeen }: OrchestratorState, event: OrchestratorEvent): void {
  if (event.kind === 'settled' || quiet.size === 0) return;
  if (event.kind === 'journaled') {
    for (const rule of quiet) if (patient.get(rule)!.has(event.event.kind)) quiet.delete(rule);
    return;
  }
  // A validator that was away may be the one that all waited for.
  const isNews =
    event.kind !== 'heartbeat' ||
    (event.role === 'validator' && !isFresh(validatorsSeen.get(event.hotkey) ?? Number.NEGATIVE_INFINITY, event.nowMs));
  if (isNews) quiet.clear();
}

const rules: readonly Rule[] = [
  release,
  beacon,
  merge,
  fragmentDue,
  voidClaim,
  disputeClose,
  auditClose,
  auditChallenge,
  expireLease,
  phaseChange,
  tempo,
  treeHead,
];
const patient: ReadonlyMap<Rule, ReadonlySet<RunEvent['kind']>> = new Map<Rule, ReadonlySet<RunEvent['kind']>>([
  [beacon, new Set()],
  [voidClaim, new Set(['fragment-published'])],
  [disputeClose, new Set()],
  [auditClose, new Set()],
  [auditChallenge, new Set(['audit-verdict', 'audit-close', 'tempo'])],
]);

function beacon(state: OrchestratorState, nowMs: number): RunEvent | null {
  const { run, head } = state;
  if (head === null) return null;
  const { committed, revealed } = indexesOf(run).open;
  // Both are in the order in which they fall due: behind one that is early, all are.
  for (const id of committed) {
    const block = state.commitBlocks.get(id);
    if (block === undefined) continue; // the next block says
    if (block + beaconDelayBlocks > head.number) break;
    const event = beaconOf(state, run.claims.get(id)!, nowMs);
    if (event !== null) return event;
  }
  for (const id of revealed) {
    const claim = run.claims.get(id)!;
    if (claim.dispute !== null) continue;
    if (nowMs - Math.max(claim.beacon!.atMs, claim.revealedAtMs!) < verdictMsOf(manifestOf(run))) break;
    const event = beaconOf(state, claim, nowMs);
    if (event !== null) return event;
  }
  return null;
}

function beaconOf(state: OrchestratorState, claim: Claim, nowMs: number): RunEvent | null {
  const { run, blocks, commitBlocks } = state;
  const head = state.head!;
  const commitBlock = claim.beacon?.commitBlock ?? commitBlocks.get(claim.id)!;
  // A claim that is drawn for again takes the newest block: the first draw's validators did not answer.
  const block = claim.beacon === null ? commitBlock + beaconDelayBlocks : head.number;
  const blockHash = blocks.get(block);
  if (blockHash === undefined || block <= (claim.beacon?.block ?? -1)) return null;
  const candidates = without(judgesOf(state, nowMs), claim.hotkey);
  if (candidates.length === 0) return null;
  const drawn = drawForClaim(run, claim, { blockHash, candidates });
  return { kind: 'claim-beacon', body: { claim: claim.id, commitBlock, block, blockHash, candidates, ...drawn } };
}

type Candidates = EventBody<'claim-beacon'>['candidates'];

/** Validators with stake and a fresh heartbeat. */
function judgesOf(state: OrchestratorState, nowMs: number): Candidates {
  return validatorsOf(state.run, nowMs)
    .filter((hotkey) => isFresh(state.validatorsSeen.get(hotkey) ?? Number.NEGATIVE_INFINITY, nowMs))
    .map((hotkey) => ({ hotkey, stakeRao: state.stakeRao.get(hotkey) ?? 0 }))
    .filter((candidate) => candidate.stakeRao > 0);
}

/** Nobody judges his own work. */
const without = (candidates: Candidates, judged: Hotkey): Candidates =>
  candidates.filter(({ hotkey }) => hotkey !== judged);

/** One audit of a learner at a time, whose link carries its states: what evidence asks for first, then what the tempo owes. */
function auditChallenge(state: OrchestratorState, nowMs: number): RunEvent | null {
  const { run, head, stop } = state;
  const { perTempo, answerMs } = manifestOf(run).audit;
  if (head === null || run.tempo.index < 0 || perTempo === 0 || stop.state !== 'running') return null;
  const judges = judgesOf(state, nowMs);
  if (judges.length === 0) return null;
  for (const hotkey of [...run.hotkeys.keys()].sort()) {
    const standing = run.hotkeys.get(hotkey)!;
    const asked = nextAudit(state, standing);
    if (asked === null) continue;
    const candidates = without(judges, hotkey);
    if (candidates.length === 0) continue;
    const block = { block: head.number, blockHash: head.hash };
    const place = { ...asked, hotkey, tempo: run.tempo.index, slot: standing.tempoAuditsDrawn };
    // Also of a learner that is silent: it would be silent whenever it is drawn.
    const drawn = drawAudit(run, { ...place, ...block, candidates });
    if (drawn === null || isUnderAudit(run, drawn.learner.id)) continue;
    return {
      kind: 'audit-challenge',
      body: {
        ...place,
        audit: run.nextAudit,
        name: drawn.learner.name,
        steps: drawn.segment.steps,
        ...block,
        candidates,
        committee: [...drawn.committee],
        // The journal's time may be later than now by the rounding.
        deadlineMs: nowMs + answerMs + 1_000,
      },
    };
  }
  return null;
}

function nextAudit(
  { run, head }: OrchestratorState,
  { hotkey, openAudits, suspicions, tempoAuditsDrawn }: HotkeyState,
): Pick<EventBody<'audit-challenge'>, 'reason' | 'claim'> | null {
  if (openAudits > 0 && openAudits >= indexesOf(run).learners.get(hotkey)!.length) return null;
  // What cannot be drawn yet must not hold up the rest.
  const ready = suspicions.find(
    ({ claim }) => auditableSegments(run, hotkey, { block: head!.number, claim }).length > 0,
  );
  if (ready !== undefined) return ready;
  const isDue = tempoAuditsDrawn < manifestOf(run).audit.perTempo && head!.number >= slotBlock(run, tempoAuditsDrawn);
  return isDue && hasAuditable(run, hotkey, head!.number) ? { reason: 'drawn', claim: null } : null;
}

/** While the syncer was away nobody could answer or judge: its own start begins every term anew. */
function auditClose({ run, startedAtMs }: OrchestratorState, nowMs: number): RunEvent | null {
  const { answerMs } = manifestOf(run).audit;
  const hasPassed = (sinceMs: number, termMs: number) => nowMs >= Math.max(sinceMs, startedAtMs ?? nowMs) + termMs;
  for (const id of run.openAudits) {
    const { answer, body, openedAtMs } = run.audits.get(id)!;
    if (answer === null && nowMs >= body.deadlineMs && hasPassed(openedAtMs, answerMs))
      return { kind: 'audit-close', body: { audit: id, code: 'UNANSWERED' } };
    if (answer !== null && hasPassed(answer.atMs, auditCheckMs(run)))
      return { kind: 'audit-close', body: { audit: id, code: 'UNCHECKED' } };
  }
  return null;
}

function disputeClose({ run, startedAtMs }: OrchestratorState, nowMs: number): RunEvent | null {
  for (const claim of run.openDisputes) {
    const sinceMs = Math.max(run.claims.get(claim)!.dispute!.openedAtMs, startedAtMs ?? nowMs);
    if (nowMs >= sinceMs + 2 * verdictMsOf(manifestOf(run))) return { kind: 'dispute-close', body: { claim } };
  }
  return null;
}

/** At quorum + grace, at once when every live learner is in, or at the deadline with what there is. */
function merge(state: OrchestratorState, nowMs: number): RunEvent | null {
  const { run } = state;
  if (run.due === null || run.fragments[run.due.fragment]!.pendingMerge !== null) return null;
  const { learners } = acceptedOf(run, run.due.fragment);
  if (learners.size === 0) return null;
  const isGraceOver = state.quorumAtMs !== null && nowMs >= state.quorumAtMs + graceOf(state);
  if (!isGraceOver && nowMs < run.due.deadlineMs && !isWhole(state, learners, nowMs)) return null;
  if (mergeableClaims(run, run.due.fragment).length === 0) return null;
  return { kind: 'merge', body: proposeMerge(run, run.due.outerStep) };
}

/** Is every live learner among those whose claim is accepted? */
function isWhole(state: OrchestratorState, accepted: ReadonlyMap<LearnerId, number>, nowMs: number): boolean {
  const isAwaited = (learner: Learner | undefined): boolean =>
    learner !== undefined && !accepted.has(learner.id) && isMerging(state, learner, nowMs);
  const { awaited, run } = state;
  // Mostly it is still the one that it was before the last event.
  if (awaited.learner !== null && isAwaited(run.learners.get(awaited.learner))) return false;
  for (const learner of run.learners.values()) {
    if (!isAwaited(learner)) continue;
    awaited.learner = learner.id;
    return false;
  }
  return true;
}

/** Grace: γ·(τ·ξ_step − ξ_quorum − ξ_sync), clamped (DESIGN section 4); learners overlap one outer step's inner steps. */
export function graceOf(state: OrchestratorState): number {
  return graceMs(state.averages, graceOptions(state.run));
}

function graceOptions(run: RunState): GraceOptions {
  const { grace, innerStepsPerOuterStep } = manifestOf(run).sync;
  const { minMs, maxMs } = grace;
  return { gamma: fromDecimal(grace.gamma), overlapSteps: innerStepsPerOuterStep, minMs, maxMs, smoothing };
}

/** Opens the next outer step; one that had no accepted claim by its deadline closes without a merge. None once the run ends. */
function fragmentDue(state: OrchestratorState, nowMs: number): RunEvent | null {
  const { run, stop } = state;
  const { sync, fragments } = manifestOf(run);
  if (stop.state !== 'running' || (run.due !== null && nowMs < run.due.deadlineMs)) return null;
  const outerStep = run.nextOuterStep;
  const fragment = outerStep % fragments.count;
  if (run.fragments[fragment]!.pendingMerge !== null) return null;
  if (liveLearners(state, nowMs).next().done === true) return null;
  return { kind: 'fragment-due', body: { outerStep, fragment, deadlineMs: nowMs + sync.deadlineMs } };
}

function voidClaim(state: OrchestratorState, nowMs: number): RunEvent | null {
  return staleClaim(state) ?? missingClaim(state, nowMs);
}

/** Only a merge makes claims stale, and those of its fragment. */
function staleClaim({ run, staleCheck }: OrchestratorState): RunEvent | null {
  const { maxStaleness } = manifestOf(run).sync;
  if (staleCheck.size === 0) return null;
  for (const id of run.openClaims) {
    const claim = run.claims.get(id)!;
    const { fragment, baseVersion } = claim.body;
    if (!staleCheck.has(fragment) || claim.status === 'merging') continue;
    const staleness = stalenessOf(run, claim);
    if (staleness <= maxStaleness) continue;
    const sentence = `based on version ${baseVersion} of fragment ${fragment}, which is ${staleness} versions ago; at most ${maxStaleness} are merged`;
    return { kind: 'claim-void', body: { claim: id, code: 'STALE', sentence } };
  }
  staleCheck.clear();
  return null;
}

function missingClaim({ run, startedAtMs }: OrchestratorState, nowMs: number): RunEvent | null {
  const { committed, beaconed } = indexesOf(run).open;
  const revealMs = revealMsOf(manifestOf(run));
  for (const ids of [committed, beaconed])
    for (const id of ids) {
      const claim = run.claims.get(id)!;
      if (claim.revealedAtMs !== null) continue;
      // While the syncer was away nobody could reveal. The oldest comes first.
      if (nowMs - Math.max(claim.committedAtMs, startedAtMs ?? nowMs) < revealMs) break;
      const sentence = `the bytes were not revealed within ${revealMs / 1_000} s of the commit`;
      return { kind: 'claim-void', body: { claim: id, code: 'MISSING', sentence } };
    }
  return null;
}

/** A lease ends when its holder left or began anew without it, or fell silent past the deadline. */
function expireLease(state: OrchestratorState, nowMs: number): RunEvent | null {
  const { run, leaseCheck } = state;
  if (nowMs < leaseCheck.fromMs)
    for (const id of leaseCheck.moved) {
      const ended = endedLease(state, run.learners.get(id)!, nowMs);
      if (ended !== null) return ended;
      leaseCheck.moved.delete(id);
    }
  else {
    // No lease is silent before this; one that is, of a holder that lives, may end as soon as that one does not.
    let firstMs = nowMs + Math.min(manifestOf(run).sync.leaseMs, longestCheckMs);
    for (const learner of run.learners.values()) {
      const ended = endedLease(state, learner, nowMs);
      if (ended !== null) return ended;
      for (const id of learner.leases) firstMs = Math.min(firstMs, silentAtMs(run, run.leases.get(id)!));
    }
    leaseCheck.moved.clear();
    leaseCheck.fromMs = Math.max(firstMs, nowMs + shortestCheckMs);
  }
  return null;
}

function endedLease(state: OrchestratorState, learner: Learner, nowMs: number): RunEvent | null {
  for (const id of learner.leases) {
    const lease = state.run.leases.get(id)!;
    if (!learner.present || learner.joinedSeq > lease.seq)
      return { kind: 'lease-return', body: { lease: lease.id, reason: 'left' } };
    if (nowMs > silentAtMs(state.run, lease) && !isAlive(state, learner.id, nowMs))
      return { kind: 'lease-return', body: { lease: lease.id, reason: 'expired' } };
  }
  return null;
}

const silentAtMs = (run: RunState, { deadlineMs, activeAtMs }: Lease): number =>
  Math.max(deadlineMs, activeAtMs + manifestOf(run).sync.leaseMs);

function phaseChange({ run }: OrchestratorState): RunEvent | null {
  const body = duePhaseChange(run);
  return body === null ? null : { kind: 'phase-change', body };
}

/** Release 0 is the start checkpoint: what all later losses are compared with. */
function release({ run }: OrchestratorState): RunEvent | null {
  if (run.releases.length > 0 && !isReleaseDue(run)) return null;
  return {
    kind: 'release',
    body: {
      release: run.releases.length,
      parent: run.releases.at(-1)?.id ?? null,
      versions: run.fragments.map((fragment) => fragment.version),
      countedTokens: toDecimal(countedTokens(run)),
      tokensBySource: {},
      treeHead: treeHeadOf(run).root,
      stateHash: segmentHash(run),
    },
  };
}

function tempo({ run, head }: OrchestratorState): RunEvent | null {
  if (head === null) return null;
  const index = tempoAt(manifestOf(run).ledger, head.number);
  if (index <= run.tempo.index) return null;
  return { kind: 'tempo', body: { tempo: index, block: head.number, blockHash: head.hash } };
}

/** One head a tempo, journaled right after it. */
function treeHead({ run, head }: OrchestratorState): RunEvent | null {
  if (head === null || run.tempo.index < 0 || (run.treeHeads.at(-1)?.block ?? -1) >= run.tempo.block) return null;
  const { size, root } = treeHeadOf(run);
  return { kind: 'tree-head', body: { size, root, block: run.tempo.block } };
}

const releaseKey = (release: number): string => `release-${release}`;

type Work = Exclude<OrchestratorEffect, { kind: 'journal' }>;

/** Slow work that is due and not under way. Done again after a restart: what it makes is written once. */
function nextWork(state: OrchestratorState): Work[] {
  const { run } = state;
  const work: Work[] = run.fragments.flatMap((fragment, id) =>
    fragment.pendingMerge === null
      ? []
      : [{ kind: 'compute-merge', key: `merge-${fragment.pendingMerge.outerStep}`, fragment: id }],
  );
  const head = run.treeHeads.at(-1);
  if (head !== undefined) work.push({ kind: 'anchor', key: `anchor-${head.size}`, root: head.root, size: head.size });
  const evaluated = run.evaluations.reduce((newest, { release }) => Math.max(newest, release), -1);
  if (evaluated >= 0) work.push({ kind: 'write-release', key: releaseKey(evaluated), release: evaluated });
  return work.filter((effect) => !state.busy.has(effect.key) && !state.finished.has(effect.key));
}

/**
 * The lease that a learner gets now, or null: no more than two open ones, none once the run ends. The position in the
 * schedule is what the run has trained on so far (leased and not open); while the lease lasts it rises with the pace of
 * all live learners.
 */
export function leaseFor(state: OrchestratorState, learner: Learner, nowMs: number): EventBody<'lease'> | null {
  const { run } = state;
  const { sync } = manifestOf(run);
  const open = openLeases(run, learner.id);
  if (state.stop.state !== 'running' || !learner.present || open.length >= 2) return null;
  const range = nextLeaseRange(run, run.phase, sync.leaseSequences);
  const untrained = untrainedOf(run, run.phase);
  const { sequenceLength } = phaseOf(run);
  const trained = Math.max(0, (run.cursor[run.phase] ?? 0) - countRanges(run.pool[run.phase] ?? []) - untrained);
  // The learner's own untrained leases come first.
  const ofPhase = open.filter((lease) => lease.phase === run.phase);
  const own = ofPhase.reduce((sum, lease) => sum + lease.range[1] - lease.range[0] - countRanges(lease.covered), 0);
  const pace = Math.max(1, paceOf(state, nowMs).learners);
  const start = (trained + own * pace) * sequenceLength;
  return {
    lease: run.nextLease,
    hotkey: learner.hotkey,
    name: learner.name,
    phase: run.phase,
    range,
    scheduleTokens: [start, start + (range[1] - range[0]) * pace * sequenceLength],
    deadlineMs: nowMs + sync.leaseMs,
  };
}
