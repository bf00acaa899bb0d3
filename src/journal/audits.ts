/**
 * @file Rules of the fold: replay audits (DESIGN section 4, check 5). The beacon draws trace segments of every hotkey in every
 * tempo; the learner shows the states at their ends, validators redo the steps. Merged work is paid once an audit has passed
 * in its tempo and none is open; a failed or unanswered one voids it.
 */
import { drawRechecked } from '../protocol/draw.ts';
import type { EventBody } from '../protocol/messages.ts';
import { fromDecimal, type Hotkey, type LearnerId, learnerIdOf } from '../protocol/names.ts';
import { auditDrawId, drawAudit, firstBlockOf, slotBlock } from './audit-draw.ts';
import { admitCandidates } from './draws.ts';
import { manifestOf } from './queries.ts';
import { delegationIn, ignore, learnerIdIn, type Refusal, type Rule, reject, seconds } from './rule.ts';
import { bar, forfeit } from './settlement.ts';
import { hotkeyState } from './standing.ts';
import type { Audit, AuditVerdict, HotkeyState, RunState, Suspicion } from './state.ts';

/** A replay is paid as so many verdicts. */
const verdictsWorth = 5;
/** An answered audit without enough verdicts after this time is nobody's fault, and drawn anew. Half a tempo, if that is more. */
export const auditCheckMs = (state: RunState): number => Math.max(120_000, tempoMs(state) / 2);
/**
 * Whoever is drawn first and says nothing for so long has lost its turn to the next. A quarter of a tempo, if that is more: on a busy
 * machine a replay took longer than 20 s, and everybody drawn redid everything.
 */
const turnMs = (state: RunState): number => Math.max(20_000, tempoMs(state) / 4);
const tempoMs = (state: RunState): number => {
  const { tempoBlocks, blockMs } = manifestOf(state).ledger;
  return tempoBlocks * blockMs;
};
/** Room between the syncer's clock and the journal's; a syncer cannot put an audit off by a distant deadline. */
const deadlineRoomMs = 10_000;

export const auditChallengeRule: Rule<'audit-challenge'> = {
  signers: ['syncer'],
  admit(state, body, { timeMs }) {
    const standing = state.hotkeys.get(body.hotkey);
    if (standing === undefined) return reject('NOT_JOINED', `${body.hotkey} has no learner in the run`);
    if (body.audit !== state.nextAudit)
      return ignore('WRONG_AUDIT', `expected audit ${state.nextAudit}, got ${body.audit}`);
    const answerMs = body.deadlineMs - timeMs - manifestOf(state).audit.answerMs;
    if (answerMs < 0 || answerMs > deadlineRoomMs)
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
    const draw = { blockHash: body.blockHash, claim: auditDrawId(state, body) };
    state.audits.set(body.audit, {
      id: body.audit,
      body,
      learner: learner.id,
      isFirst: segment.isFirst,
      joinedAtStep: segment.joinedAtStep,
      lagBlocks: body.block - firstBlockOf(state, body),
      isDouble:
        isFirstOfTempo(body) ||
        (body.committee.length > 1 && drawRechecked({ ...draw, share: fromDecimal(recheckShare) })),
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

/**
 * Each tempo's first is redone by two: where one pass is enough, two colluding validators of five pay their miner's noise in one
 * tempo of seven. Of no use among two validators: where they differ, nobody decides.
 */
const isFirstOfTempo = ({ reason, slot, committee }: EventBody<'audit-challenge'>): boolean =>
  reason === 'drawn' && slot === 0 && committee.length > 2;

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

/**
 * One pass is enough, or two where two were asked. Once somebody fails it, most of the committee decide either way: of five
 * validators two that collude could else pass their miner's noise or ruin an honest miner. A tie passes.
 */
function settle(state: RunState, audit: Audit, timeMs: number): void {
  const of = (outcome: AuditVerdict['outcome']) => audit.verdicts.filter((verdict) => verdict.outcome === outcome);
  const [passes, fails] = [of('pass'), of('fail')];
  const voters = votersOf(state, audit).length;
  const most = Math.floor(voters / 2) + 1;
  const passesNeeded = fails.length > 0 ? most : audit.isDouble ? 2 : 1;
  if (fails.length >= most) {
    closeAudit(state, audit, { ...fails[0]!, status: 'failed', timeMs });
    for (const { hotkey } of passes) bar(state, hotkey, `passed audit ${audit.id}, which most found failed`, timeMs);
  } else if (passes.length >= passesNeeded || audit.verdicts.length === voters)
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

/** The committee without those who were barred before they said anything: nobody waits for them. */
const votersOf = (state: RunState, { body, verdicts }: Audit): readonly Hotkey[] =>
  body.committee.filter((each) => !state.hotkeys.get(each)?.barred || verdicts.some(({ hotkey }) => hotkey === each));

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
  if (status === 'failed') forfeit(state, hotkey, { audit: audit.id, code, timeMs, isProven: isProven(state, audit) });
  if (status !== 'passed') return;
  standing.tempoAuditsPassed++;
  if (standing.probationFromMs !== null && audit.openedAtMs >= standing.probationFromMs)
    standing.probationFromMs = null;
}

/**
 * A learner that still commits late in the time to answer, without having begun anew, has not crashed: it has no states to show.
 */
function isProven(state: RunState, { code, learner, openedAtMs, body: { deadlineMs } }: Audit): boolean {
  if (code !== 'UNANSWERED') return true;
  const { lastClaimAtMs, lastAtMs } = state.learners.get(learner)!;
  return lastClaimAtMs !== null && lastClaimAtMs > (openedAtMs + deadlineMs) / 2 && lastAtMs <= openedAtMs;
}

export const auditCloseRule: Rule<'audit-close'> = {
  signers: ['syncer'],
  admit(state, body, { timeMs }) {
    const audit = openAudit(state, body.audit);
    if ('outcome' in audit) return audit;
    const isAnswered = audit.status === 'answered';
    if (isAnswered !== (body.code === 'UNCHECKED'))
      return reject('MALFORMED', `audit ${body.audit} is ${audit.status}, it cannot be closed as ${body.code}`);
    const dueMs = isAnswered ? audit.answer!.atMs + auditCheckMs(state) : audit.body.deadlineMs;
    return timeMs >= dueMs ? null : ignore('TOO_SOON', `audit ${body.audit} has another ${seconds(dueMs - timeMs)}`);
  },
  apply(state, { audit: id, code }, { timeMs }) {
    const audit = state.audits.get(id)!;
    if (code === 'UNANSWERED') {
      const sentence = 'the states did not come in time; keep the newest segments, and the way to the store open';
      state.learners.get(audit.learner)!.isSilent = true;
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

/** Whether states are asked of the learner that have not been judged yet. */
export function isUnderAudit(state: RunState, learner: LearnerId): boolean {
  for (const id of state.openAudits) if (state.audits.get(id)!.learner === learner) return true;
  return false;
}

/** Audits whose segment a validator is to redo now: it was drawn, the states are there, its turn has come or all are asked. */
export function auditsOwed(state: RunState, validator: Hotkey): Audit[] {
  return [...state.openAudits]
    .map((id) => state.audits.get(id)!)
    .filter((audit) => {
      const { answer, verdicts, isDouble, status } = audit;
      const turn = votersOf(state, audit).indexOf(validator);
      if (status !== 'answered' || turn < 0 || verdicts.some(({ hotkey }) => hotkey === validator)) return false;
      const isFailed = verdicts.some(({ outcome }) => outcome === 'fail');
      const isDue = isFailed || turn <= verdicts.length || (turn === 1 && isDouble);
      return isDue || turn <= Math.floor((state.lastTimeMs - answer!.atMs) / turnMs(state));
    });
}
