/**
 * @file Rules of the fold: replay audits (DESIGN section 4, check 5). The beacon draws trace segments of every hotkey in every
 * tempo; the learner shows the states at their ends, validators redo the steps. Merged work is paid once an audit has passed
 * in its tempo and none is open; a failed or unanswered one voids it.
 */
import { type Candidate, drawCommittee, drawRechecked, drawSegment } from '../protocol/draw.ts';
import { hashOfText } from '../protocol/hash.ts';
import type { EventBody } from '../protocol/messages.ts';
import { fromDecimal, type Hash, type Hotkey, learnerIdOf } from '../protocol/names.ts';
import { admitCandidates } from './draws.ts';
import { hotkeyState } from './membership.ts';
import { manifestOf, runOf } from './queries.ts';
import { delegationIn, ignore, learnerIdIn, type Refusal, type Rule, reject, seconds } from './rule.ts';
import { bar, forfeit } from './settlement.ts';
import type { Audit, AuditSegment, AuditVerdict, HotkeyState, Learner, RunState, Suspicion } from './state.ts';

/** A replay is paid as so many verdicts. */
const verdictsWorth = 5;
/** An answered audit without enough verdicts after this time is nobody's fault, and drawn anew. */
export const auditCheckMs = 60_000;
const committeeSize = 3;

/** Cuts what a commit added to the learner's trace into segments; the newest W stay. */
export function extendSegments(state: RunState, learner: Learner, claim: Hash): void {
  const { sync, audit } = manifestOf(state);
  const every = sync.stateRootEverySteps;
  for (;;) {
    const from = learner.segmentFrom;
    const to = (Math.floor(from / every) + 1) * every;
    if (to > learner.innerSteps) break;
    learner.auditable.push({ steps: [from, to], isFirst: from === learner.joinedAtStep, claim, isDrawn: false });
    learner.segmentFrom = to;
  }
  learner.auditable = learner.auditable.slice(-audit.window);
}

export interface Auditable {
  readonly learner: Learner;
  readonly segment: AuditSegment;
}

/**
 * Segments of a hotkey that block `block` may draw from: committed so early that their miner could not know it, and not
 * drawn yet. A claim that is under suspicion narrows them to its own steps. In order of learner and steps.
 */
export function auditableSegments(
  state: RunState,
  hotkey: Hotkey,
  { block, claim }: { readonly block: number; readonly claim: Hash | null },
): Auditable[] {
  const learners = [...state.learners.values()].filter((learner) => learner.hotkey === hotkey);
  learners.sort((a, b) => (a.id < b.id ? -1 : 1));
  const all = learners.flatMap((learner) => learner.auditable.map((segment) => ({ learner, segment })));
  const suspected = claim === null ? undefined : state.claims.get(claim);
  return all.filter(({ learner, segment }) => {
    const beacon = state.claims.get(segment.claim)?.beacon ?? null;
    if (segment.isDrawn || beacon === null || beacon.block > block) return false;
    if (suspected === undefined) return true;
    const [from, to] = suspected.body.steps;
    return learner.id === suspected.learner && segment.steps[0] < to && segment.steps[1] > from;
  });
}

/** First block of a slot: the last quarter of a tempo is for settling what the others drew. */
export function slotBlock(state: RunState, slot: number): number {
  const { ledger, audit } = manifestOf(state);
  return state.tempo.block + Math.floor((slot * ledger.tempoBlocks) / (audit.perTempo + 1));
}

/** The segment that the beacon draws, and who redoes it in which order; null if there is none to draw from. */
export function drawAudit(
  state: RunState,
  options: {
    readonly hotkey: Hotkey;
    readonly claim: Hash | null;
    readonly block: number;
    readonly blockHash: Hash;
    readonly candidates: readonly Candidate[];
  },
): (Auditable & { readonly committee: readonly Hotkey[] }) | null {
  const { hotkey, blockHash, candidates } = options;
  const segments = auditableSegments(state, hotkey, options);
  if (segments.length === 0) return null;
  const audit = state.nextAudit;
  const drawn = segments[drawSegment({ blockHash, hotkey, audit, count: segments.length })]!;
  const order = drawCommittee({ blockHash, claim: auditDrawId(state, audit), candidates, size: candidates.length });
  // Whoever repeats a failure should have the learner's class of machine, if anybody has.
  const { machineClass } = drawn.learner.capabilities;
  const isAlike = (each: Hotkey): boolean => state.hotkeys.get(each)?.machineClass === machineClass;
  const [first, ...rest] = order;
  const committee = [first!, ...rest.filter(isAlike), ...rest.filter((each) => !isAlike(each))];
  return { ...drawn, committee: committee.slice(0, committeeSize) };
}

const auditDrawId = (state: RunState, audit: number): Hash => hashOfText(`audit ${runOf(state).id} ${audit}`);

export const auditChallengeRule: Rule<'audit-challenge'> = {
  signers: ['syncer'],
  admit(state, body, { timeMs }) {
    const standing = state.hotkeys.get(body.hotkey);
    if (standing === undefined) return reject('NOT_JOINED', `${body.hotkey} has no learner in the run`);
    if (body.audit !== state.nextAudit)
      return ignore('WRONG_AUDIT', `expected audit ${state.nextAudit}, got ${body.audit}`);
    if (body.deadlineMs < timeMs + manifestOf(state).audit.answerMs)
      return reject('MALFORMED', `an audit leaves ${seconds(manifestOf(state).audit.answerMs)} to answer`);
    return (
      admitReason(state, standing, body) ??
      admitCandidates(state, body.candidates, body.hotkey, timeMs) ??
      admitSegment(state, body)
    );
  },
  apply(state, body, { timeMs }) {
    const standing = hotkeyState(state, body.hotkey);
    const { learner, segment } = drawAudit(state, body)!;
    const { recheckShare } = manifestOf(state).evaluation;
    const draw = { blockHash: body.blockHash, claim: auditDrawId(state, body.audit) };
    state.audits.set(body.audit, {
      id: body.audit,
      body,
      learner: learner.id,
      isFirst: segment.isFirst,
      isDouble: drawRechecked({ ...draw, share: fromDecimal(recheckShare) }) && body.committee.length > 1,
      openedAtMs: timeMs,
      answer: null,
      verdicts: [],
      status: 'open',
      code: null,
      sentence: '',
      settledAtMs: null,
    });
    segment.isDrawn = true;
    state.openAudits.add(body.audit);
    state.nextAudit++;
    standing.openAudits++;
    if (body.reason === 'drawn') standing.tempoAuditsDrawn++;
    else standing.suspicions = standing.suspicions.filter((each) => !isAbout(each, body));
  },
};

const isAbout = (suspicion: Suspicion, { reason, claim }: EventBody<'audit-challenge'>): boolean =>
  suspicion.reason === reason && suspicion.claim === claim;

function admitReason(state: RunState, standing: HotkeyState, body: EventBody<'audit-challenge'>): Refusal | null {
  if (body.tempo !== state.tempo.index)
    return ignore('WRONG_TEMPO', `the journal is in tempo ${state.tempo.index}, got ${body.tempo}`);
  if (body.reason !== 'drawn') {
    if (standing.suspicions.some((each) => isAbout(each, body))) return null;
    return reject('NO_REASON', `nothing in the journal asks for an audit of ${body.hotkey} for ${body.reason}`);
  }
  const { perTempo } = manifestOf(state).audit;
  if (body.claim !== null) return reject('MALFORMED', 'a drawn audit is about no claim');
  if (body.slot !== standing.tempoAuditsDrawn || body.slot >= perTempo)
    return ignore(
      'WRONG_SLOT',
      `audit ${standing.tempoAuditsDrawn} of ${perTempo} of this tempo is next, got ${body.slot}`,
    );
  const block = slotBlock(state, body.slot);
  if (body.block >= block) return null;
  return ignore('TOO_SOON', `audit ${body.slot} of the tempo is drawn from block ${block} on, got ${body.block}`);
}

function admitSegment(state: RunState, body: EventBody<'audit-challenge'>): Refusal | null {
  const drawn = drawAudit(state, body);
  if (drawn === null) return ignore('NO_SEGMENT', `${body.hotkey} has no segment that block ${body.block} may draw`);
  const { learner, segment, committee } = drawn;
  const [from, to] = segment.steps;
  const isDrawn =
    learner.id === learnerIdOf(body.hotkey, body.name) &&
    body.steps[0] === from &&
    body.steps[1] === to &&
    body.committee.join() === committee.join();
  if (isDrawn) return null;
  return reject('WRONG_DRAW', `the beacon draws steps ${from} to ${to} of ${learner.id}, for ${committee.join(', ')}`);
}

export const auditAnswerRule: Rule<'audit-answer'> = {
  signers: ['miner'],
  admit(state, body, context) {
    const audit = openAudit(state, body.audit);
    if ('outcome' in audit) return audit;
    if (audit.learner !== learnerIdIn(context))
      return reject('NOT_YOURS', `audit ${body.audit} is of ${audit.learner}`);
    if (audit.status !== 'open') return ignore('DUPLICATE', `audit ${body.audit} is answered`);
    if ((body.start === null) === audit.isFirst) return null;
    return reject('MALFORMED', `a start state belongs to a segment that does not begin with a join, and only to one`);
  },
  apply(state, { audit: id, start, end }, { timeMs }) {
    const audit = state.audits.get(id)!;
    audit.answer = { start, end, atMs: timeMs };
    audit.status = 'answered';
  },
};

function openAudit(state: RunState, id: number): Audit | Refusal {
  const audit = state.audits.get(id);
  if (audit === undefined) return reject('UNKNOWN_AUDIT', `there is no audit ${id}`);
  if (state.openAudits.has(id)) return audit;
  return ignore('SETTLED', `audit ${id} is ${audit.status}`);
}

export const auditVerdictRule: Rule<'audit-verdict'> = {
  signers: ['validator'],
  admit(state, body, context) {
    const audit = openAudit(state, body.audit);
    if ('outcome' in audit) return audit;
    const { hotkey } = delegationIn(context);
    if (state.hotkeys.get(hotkey)?.barred) return reject('BARRED', `${hotkey} may no longer judge`);
    if (!audit.body.committee.includes(hotkey))
      return reject('NOT_COMMITTEE', `${hotkey} was not drawn for audit ${body.audit}`);
    if (audit.status !== 'answered') return ignore('NOT_ANSWERED', `audit ${body.audit} is ${audit.status}`);
    if (audit.verdicts.some((verdict) => verdict.hotkey === hotkey))
      return ignore('DUPLICATE', `${hotkey} has redone audit ${body.audit}`);
    if ((body.outcome === 'pass') === (body.code === 'OK')) return null;
    return reject('MALFORMED', `an audit passes with code OK and only so, got ${body.outcome} ${body.code}`);
  },
  apply(state, { audit: id, ...body }, context) {
    const audit = state.audits.get(id)!;
    audit.verdicts.push({ ...body, hotkey: delegationIn(context).hotkey, atMs: context.timeMs });
    settle(state, audit, context.timeMs);
  },
};

/** A failure counts once a second validator repeats it; of two that differ a third decides, or nobody: it passes. */
function settle(state: RunState, audit: Audit, timeMs: number): void {
  const of = (outcome: AuditVerdict['outcome']) => audit.verdicts.filter((verdict) => verdict.outcome === outcome);
  const [passes, fails] = [of('pass'), of('fail')];
  const size = audit.body.committee.length;
  if (fails.length >= Math.min(2, size)) {
    closeAudit(state, audit, { ...fails[0]!, status: 'failed', timeMs });
    for (const { hotkey } of passes)
      bar(state, hotkey, `passed audit ${audit.id}, which two others found failed`, timeMs);
  } else if (
    fails.length === 0
      ? passes.length >= (audit.isDouble ? 2 : 1)
      : audit.verdicts.length === size || passes.length >= 2
  )
    closeAudit(state, audit, { code: 'OK', sentence: '', status: 'passed', timeMs });
  else return;
  const outcome = audit.status === 'passed' ? 'pass' : 'fail';
  for (const verdict of audit.verdicts) {
    const validator = hotkeyState(state, verdict.hotkey);
    if (validator.barred !== null) continue;
    if (verdict.outcome !== outcome) validator.overruledVerdicts++;
    else {
      validator.tempoVerdicts += verdictsWorth;
      validator.settledVerdicts++;
    }
  }
}

function closeAudit(
  state: RunState,
  audit: Audit,
  {
    status,
    code,
    sentence,
    timeMs,
  }: Pick<Audit, 'status' | 'sentence'> & { code: AuditVerdict['code']; timeMs: number },
): void {
  Object.assign(audit, { status, code, sentence, settledAtMs: timeMs });
  state.openAudits.delete(audit.id);
  const { hotkey } = audit.body;
  const standing = hotkeyState(state, hotkey);
  standing.openAudits--;
  if (status === 'passed') standing.tempoAuditsPassed++;
  if (status === 'failed') forfeit(state, hotkey, { audit: audit.id, code, timeMs });
}

export const auditCloseRule: Rule<'audit-close'> = {
  signers: ['syncer'],
  admit(state, body, { timeMs }) {
    const audit = openAudit(state, body.audit);
    if ('outcome' in audit) return audit;
    const isAnswered = audit.status === 'answered';
    if (isAnswered !== (body.code === 'UNCHECKED'))
      return reject('MALFORMED', `audit ${body.audit} is ${audit.status}, it cannot be closed as ${body.code}`);
    const dueMs = isAnswered ? audit.answer!.atMs + auditCheckMs : audit.body.deadlineMs;
    return timeMs >= dueMs ? null : ignore('TOO_SOON', `audit ${body.audit} has another ${seconds(dueMs - timeMs)}`);
  },
  apply(state, { audit: id, code }, { timeMs }) {
    const audit = state.audits.get(id)!;
    if (code === 'UNANSWERED') {
      const sentence = 'the states did not come in time; keep the newest segments, and the way to the store open';
      closeAudit(state, audit, { status: 'failed', code, sentence, timeMs });
      return;
    }
    closeAudit(state, audit, { status: 'unchecked', code, sentence: 'no validator redid the segment in time', timeMs });
    // Another may be drawn in its place.
    const standing = hotkeyState(state, audit.body.hotkey);
    if (audit.body.reason === 'drawn' && audit.body.tempo === state.tempo.index) standing.tempoAuditsDrawn--;
  },
};

/** Each is asked for once. */
export function noteSuspicion(standing: HotkeyState, suspicion: Suspicion): void {
  const { reason, claim } = suspicion;
  if (!standing.suspicions.some((known) => known.reason === reason && known.claim === claim))
    standing.suspicions.push(suspicion);
}

/** May the hotkey's merged work be paid: an audit has passed in this tempo, none is open, nothing is suspected? */
export function isCleared(state: RunState, standing: HotkeyState): boolean {
  if (manifestOf(state).audit.perTempo === 0) return true;
  return standing.openAudits === 0 && standing.tempoAuditsPassed > 0 && standing.suspicions.length === 0;
}
