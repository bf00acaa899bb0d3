/**
 * @file Rules of the fold: verdicts of committees and rechecks, and disputes. Two verdicts that agree decide. Where a
 * committee does not agree, where a recheck contradicts it, where somebody is accused of numbers that nobody can compute, or
 * where a refused miner appeals, all validators judge and stake decides; who said what bytes disprove is barred.
 */
import type { EventBody, VerdictCode } from '../protocol/messages.ts';
import { fromDecimal, type Hash, type Hotkey } from '../protocol/names.ts';
import { noteSuspicion } from './audits.ts';
import { verdictTimeoutMs } from './claims.ts';
import { hotkeyState } from './membership.ts';
import { manifestOf } from './queries.ts';
import { delegationIn, ignore, learnerIdIn, type Refusal, type Rule, reject, seconds, short } from './rule.ts';
import {
  acceptClaim,
  bar,
  isUndecided,
  overturnAcceptance,
  refuseClaim,
  type Settlement,
  voidClaim,
} from './settlement.ts';
import type { Claim, ClaimVerdict, Dispute, RunState } from './state.ts';

/** A refused claim may be appealed for so long: its bytes are still there. */
export const appealMs = 600_000;

/** What these say follows from the bytes alone: two honest validators cannot differ. */
const certain: ReadonlySet<string> = new Set<VerdictCode>(['MALFORMED', 'OVERSIZED', 'HEADER', 'NOT_FINITE', 'TRACE']);

export const verdictRule: Rule<'verdict'> = {
  signers: ['validator'],
  admit(state, body, context) {
    const claim = state.claims.get(body.claim);
    const { hotkey } = delegationIn(context);
    if (claim === undefined) return reject('UNKNOWN_CLAIM', `there is no claim ${short(body.claim)}`);
    if (state.hotkeys.get(hotkey)?.barred) return reject('BARRED', `${hotkey} may no longer judge`);
    if (claim.beacon === null || claim.revealedAtMs === null)
      return ignore('NOT_REVEALED', `claim ${short(body.claim)} is ${claim.status}`);
    if ((body.outcome === 'accept') !== (body.code === 'OK'))
      return reject('MALFORMED', `a claim is accepted with code OK and only so, got ${body.outcome} ${body.code}`);
    if (body.accused.includes(hotkey)) return reject('CONFLICT', 'a validator does not accuse itself');
    return admitRound[body.round](claim, hotkey);
  },
  apply(state, { claim: id, ...body }, context) {
    const claim = state.claims.get(id)!;
    const verdict: ClaimVerdict = { ...body, hotkey: delegationIn(context).hotkey, atMs: context.timeMs };
    applyRound[body.round](state, claim, verdict);
    if (body.accused.length > 0 && body.round !== 'ruling') openDispute(state, claim, 'accusation', context.timeMs);
  },
};

type ByRound<F> = { readonly [R in EventBody<'verdict'>['round']]: F };

const admitRound: ByRound<(claim: Claim, hotkey: Hotkey) => Refusal | null> = {
  committee(claim, hotkey) {
    if (!claim.beacon!.committee.includes(hotkey))
      return reject('NOT_COMMITTEE', `${hotkey} was not drawn for claim ${short(claim.id)}`);
    if (claim.verdicts.some((verdict) => verdict.hotkey === hotkey))
      return ignore('DUPLICATE', `${hotkey} has judged claim ${short(claim.id)}`);
    if (claim.dispute !== null) return ignore('SETTLED', `claim ${short(claim.id)} is before all validators`);
    return isUndecided(claim) ? null : ignore('SETTLED', `claim ${short(claim.id)} is ${claim.status}`);
  },
  recheck(claim, hotkey) {
    if (claim.beacon!.recheck !== hotkey)
      return reject('NOT_COMMITTEE', `${hotkey} was not drawn to recheck claim ${short(claim.id)}`);
    if (claim.rechecked !== null) return ignore('DUPLICATE', `claim ${short(claim.id)} is rechecked`);
    const isAccepted = claim.status === 'accepted' || claim.status === 'merging' || claim.status === 'merged';
    return isAccepted ? null : ignore('SETTLED', `claim ${short(claim.id)} is ${claim.status}`);
  },
  ruling(claim, hotkey) {
    if (claim.dispute?.closedAtMs !== null) return ignore('SETTLED', `claim ${short(claim.id)} is in no dispute`);
    if (!claim.beacon!.candidates.some((candidate) => candidate.hotkey === hotkey))
      return reject('NOT_COMMITTEE', `${hotkey} is not of the jury of claim ${short(claim.id)}`);
    if (!claim.dispute.rulings.some((ruling) => ruling.hotkey === hotkey)) return null;
    return ignore('DUPLICATE', `${hotkey} has ruled on claim ${short(claim.id)}`);
  },
};

const applyRound: ByRound<(state: RunState, claim: Claim, verdict: ClaimVerdict) => void> = {
  committee(state, claim, verdict) {
    claim.verdicts.push(verdict);
    settle(state, claim, verdict.atMs);
  },
  recheck(state, claim, verdict) {
    claim.rechecked = verdict;
    state.openRechecks.delete(claim.id);
    if (verdict.outcome === 'accept') countVerdict(state, verdict, 'accept');
    else if (certain.has(verdict.code)) openDispute(state, claim, 'disagreement', verdict.atMs);
  },
  ruling(state, claim, verdict) {
    claim.dispute!.rulings.push(verdict);
    const { candidates } = claim.beacon!;
    const total = candidates.reduce((sum, { stakeRao }) => sum + stakeRao, 0);
    const byOutcome = tally(claim, ({ outcome }) => [outcome]);
    const isClear = [...byOutcome.values()].some((stake) => stake * 2 > total);
    // An accusation needs the whole jury, or its time: the outcome alone says nothing of who lied.
    const isWhole = claim.dispute!.rulings.length === candidates.length;
    if (isWhole || (isClear && claim.dispute!.reason === 'appeal')) closeDispute(state, claim, verdict.atMs);
  },
};

/** Two verdicts that agree decide, or the only one of a committee of one; all in and none agreeing goes to all. */
function settle(state: RunState, claim: Claim, timeMs: number): void {
  const size = claim.beacon!.committee.length;
  const needed = Math.min(2, size);
  const agreeing = (outcome: string) => claim.verdicts.filter((verdict) => verdict.outcome === outcome).length;
  const deciding = claim.verdicts.find(({ outcome }) => agreeing(outcome) >= needed);
  if (deciding === undefined) {
    if (claim.verdicts.length === size) openDispute(state, claim, 'disagreement', timeMs);
    return;
  }
  for (const verdict of claim.verdicts) countVerdict(state, verdict, deciding.outcome);
  decide(state, claim, { ...deciding, timeMs });
  noteGain(state, claim);
  noteResemblance(state, claim);
  const contradicts = ({ outcome, code }: ClaimVerdict): boolean =>
    outcome !== deciding.outcome && (certain.has(code) || certain.has(deciding.code));
  if (claim.verdicts.some(contradicts)) openDispute(state, claim, 'disagreement', timeMs);
}

function countVerdict(state: RunState, { hotkey, outcome }: ClaimVerdict, settled: ClaimVerdict['outcome']): void {
  const validator = hotkeyState(state, hotkey);
  if (validator.barred !== null) return;
  if (outcome === settled) {
    validator.tempoVerdicts++;
    validator.settledVerdicts++;
  } else validator.overruledVerdicts++;
}

function decide(state: RunState, claim: Claim, settlement: Settlement & Pick<ClaimVerdict, 'outcome'>): void {
  if (settlement.outcome === 'accept') acceptClaim(state, claim, settlement.timeMs);
  else if (settlement.outcome === 'reject') refuseClaim(state, claim, settlement);
  else voidClaim(state, claim, settlement);
}

/**
 * Pools a hotkey's gain tests: Σ gain ± √Σ error². Eight or more whose sum is not two errors above zero, while those of
 * all others together are, is evidence of no gain: it draws a replay and costs nothing by itself.
 */
function noteGain(state: RunState, claim: Claim): void {
  const standing = hotkeyState(state, claim.hotkey);
  for (const { measurements } of claim.verdicts) {
    const { gain, gainError } = measurements;
    if (gain === undefined || gainError === undefined) continue;
    standing.gainSum += fromDecimal(gain);
    standing.gainVariance += fromDecimal(gainError) ** 2;
    standing.gainTests++;
  }
  if (standing.gainTests < 8) return;
  const others = [...state.hotkeys.values()].filter(({ hotkey }) => hotkey !== claim.hotkey);
  const sum = others.reduce((total, { gainSum }) => total + gainSum, 0);
  const variance = others.reduce((total, { gainVariance }) => total + gainVariance, 0);
  const isGaining = (gain: number, squares: number): boolean => gain > 2 * Math.sqrt(squares);
  if (isGaining(standing.gainSum, standing.gainVariance) || !isGaining(sum, variance)) return;
  noteSuspicion(standing, { reason: 'no-gain', claim: null });
  Object.assign(standing, { gainSum: 0, gainVariance: 0, gainTests: 0 });
}

/** The larger of two validators' measurements counts: a copy is a copy whoever sees it. */
function noteResemblance(state: RunState, claim: Claim): void {
  const bound = fromDecimal(manifestOf(state).audit.copyResemblance);
  const resembles = claim.verdicts.some(({ measurements: { resemblance } }) => {
    return resemblance !== undefined && fromDecimal(resemblance) > bound;
  });
  if (resembles) noteSuspicion(hotkeyState(state, claim.hotkey), { reason: 'resemblance', claim: claim.id });
}

/** Once for each claim. */
function openDispute(state: RunState, claim: Claim, reason: Dispute['reason'], timeMs: number): void {
  if (claim.dispute !== null) return;
  claim.dispute = { reason, openedAtMs: timeMs, rulings: [], closedAtMs: null };
  state.openDisputes.add(claim.id);
}

export const appealRule: Rule<'appeal'> = {
  signers: ['miner'],
  admit(state, body, context) {
    const claim = state.claims.get(body.claim);
    if (claim === undefined) return reject('UNKNOWN_CLAIM', `there is no claim ${short(body.claim)}`);
    if (claim.learner !== learnerIdIn(context))
      return reject('NOT_YOURS', `claim ${short(claim.id)} belongs to ${claim.learner}`);
    if (claim.dispute !== null) return ignore('DUPLICATE', `claim ${short(claim.id)} was before all validators`);
    if (claim.status !== 'refused') return reject('NOT_REFUSED', `claim ${short(claim.id)} is ${claim.status}`);
    const ageMs = context.timeMs - claim.settledAtMs!;
    if (ageMs <= appealMs) return null;
    return ignore('TOO_LATE', `refused ${seconds(ageMs)} ago; appeals are heard for ${seconds(appealMs)}`);
  },
  apply(state, body, { timeMs }) {
    openDispute(state, state.claims.get(body.claim)!, 'appeal', timeMs);
  },
};

export const disputeCloseRule: Rule<'dispute-close'> = {
  signers: ['syncer'],
  admit(state, body, { timeMs }) {
    const claim = state.claims.get(body.claim);
    if (claim === undefined) return reject('UNKNOWN_CLAIM', `there is no claim ${short(body.claim)}`);
    if (claim.dispute?.closedAtMs !== null) return ignore('SETTLED', `claim ${short(claim.id)} is in no dispute`);
    const leftMs = claim.dispute.openedAtMs + 2 * verdictTimeoutMs - timeMs;
    return leftMs <= 0 ? null : ignore('TOO_SOON', `the jury has another ${seconds(leftMs)}`);
  },
  apply(state, body, { timeMs }) {
    closeDispute(state, state.claims.get(body.claim)!, timeMs);
  },
};

/** Stake for each answer of the rulings that are in. */
function tally<T>(claim: Claim, answers: (ruling: ClaimVerdict) => readonly T[]): Map<T, number> {
  const stakes = new Map<T, number>();
  for (const ruling of claim.dispute!.rulings) {
    const stake = claim.beacon!.candidates.find(({ hotkey }) => hotkey === ruling.hotkey)!.stakeRao;
    for (const answer of answers(ruling)) stakes.set(answer, (stakes.get(answer) ?? 0) + stake);
  }
  return stakes;
}

function closeDispute(state: RunState, claim: Claim, timeMs: number): void {
  const dispute = claim.dispute!;
  dispute.closedAtMs = timeMs;
  state.openDisputes.delete(claim.id);
  const said = tally(claim, ({ outcome }) => [outcome]);
  const cast = [...said.values()].reduce((sum, stake) => sum + stake, 0);
  const settled = [...said].find(([, stake]) => stake * 2 > cast)?.[0];
  if (settled === undefined) {
    const sentence = 'the committee did not agree, and neither did all validators';
    if (isUndecided(claim)) refuseClaim(state, claim, { code: 'DISAGREED', sentence, timeMs });
    return;
  }
  const ruling = dispute.rulings.find(({ outcome }) => outcome === settled)!;
  for (const each of dispute.rulings) countVerdict(state, each, settled);
  if (isUndecided(claim)) for (const verdict of claim.verdicts) countVerdict(state, verdict, settled);
  applyRuling(state, claim, { ...ruling, timeMs });
  barLiars(state, claim, { settled, code: ruling.code, cast, timeMs });
}

/** To a claim that stands otherwise. */
function applyRuling(state: RunState, claim: Claim, settlement: Settlement & Pick<ClaimVerdict, 'outcome'>): void {
  if (isUndecided(claim)) decide(state, claim, settlement);
  else if (claim.status === 'refused' && settlement.outcome === 'accept') {
    state.learners.get(claim.learner)!.claims.refused--;
    acceptClaim(state, claim, settlement.timeMs);
  } else if (isAccepted(claim) && settlement.outcome === 'reject') overturnAcceptance(state, claim, settlement);
}

const isAccepted = ({ status }: Claim): boolean => status === 'accepted' || status === 'merging' || status === 'merged';

/** Those whom most stake accuses, and those whose word the bytes disprove. */
function barLiars(
  state: RunState,
  claim: Claim,
  { settled, code, cast, timeMs }: { settled: string; code: string; cast: number; timeMs: number },
): void {
  const accused = tally(claim, (ruling) => ruling.accused);
  for (const [hotkey, stake] of [...accused].sort(([a], [b]) => (a < b ? -1 : 1)))
    if (stake * 2 > cast)
      bar(state, hotkey, `${lie(claim.id)} numbers that the other validators could not compute`, timeMs);
  const all = [...claim.verdicts, ...(claim.rechecked === null ? [] : [claim.rechecked]), ...claim.dispute!.rulings];
  for (const verdict of all) {
    const isDisproved = verdict.outcome !== settled && (certain.has(verdict.code) || certain.has(code));
    if (isDisproved) bar(state, verdict.hotkey, `${lie(claim.id)} ${verdict.code} where the bytes say ${code}`, timeMs);
  }
}

const lie = (claim: Hash): string => `said of claim ${short(claim)}`;
